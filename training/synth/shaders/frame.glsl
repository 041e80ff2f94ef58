// What every program knows about the frame: one uniform block, the shadow maps, the light, the noise.
// Lengths are millimetres in the car frame (x right, y down, z forward); light is linear.

layout(std140, binding = 0) uniform Frame {
    mat4 clip_from_car;
    mat4 near_sun_from_car;   // orthographic, about the driver's head
    mat4 far_sun_from_car;    // orthographic, the whole cabin
    mat4 key_from_car;        // orthographic, along the mean direction of the light that is not the sun
    vec4 camera;              // position; w: focal length in pixels of the target
    vec4 sun;                 // unit vector towards the sun; w: 1 where it shines at all
    vec4 sun_rgb;             // irradiance of a surface that faces the sun
    vec4 key;                 // unit vector; w: share of the diffuse light that comes from about there
    vec4 irradiance_sh[9];    // of what surrounds the driver's head: spherical harmonics, convolved with the cosine
    vec4 lamp_mm[8];          // positions; w: unused
    vec4 lamp_rgb[8];         // irradiance at 1 m
    vec4 environment;         // x: gain, y: yaw in radians, z: 1 in infrared pictures, w: number of lamps
    vec4 taps;                // x: samples of the key light's penumbra
};

layout(binding = 1) uniform sampler2DShadow near_sun_map;
layout(binding = 2) uniform sampler2DShadow far_sun_map;
layout(binding = 3) uniform sampler2DShadow key_map;
layout(binding = 4) uniform sampler2D surroundings;   // what the driver's head sees, octahedral
layout(binding = 5) uniform sampler2D panorama;       // the world outside, equirectangular
layout(binding = 6) uniform sampler2D noise;          // four independent fields about 0.5, they repeat

const float PI = 3.14159265;

bool infrared() { return environment.z > 0.5; }

// Texture coordinates of a direction in an equirectangular picture: ahead in the middle, up in row 0.
vec2 equirectangular(vec3 d, float yaw) {
    return vec2(atan(d.x, d.z) / (2.0 * PI) + 0.5 - yaw / (2.0 * PI), acos(clamp(-d.y, -1.0, 1.0)) / PI);
}

vec3 outside(vec3 d, float level) {
    vec3 c = textureLod(panorama, equirectangular(d, environment.y), level).rgb * environment.x;
    return infrared() ? vec3(dot(c, vec3(1.0 / 3.0))) : c;
}

// What is seen in direction d; the picture is an octahedron unfolded about the way ahead, so that no angle is needed.
vec3 surroundings_at(vec3 d, float level) {
    vec3 q = d / (abs(d.x) + abs(d.y) + abs(d.z));
    vec2 folded = (1.0 - abs(q.yx)) * vec2(q.x < 0.0 ? -1.0 : 1.0, q.y < 0.0 ? -1.0 : 1.0);
    return textureLod(surroundings, (q.z < 0.0 ? folded : q.xy) * 0.5 + 0.5, level).rgb;
}

float fifth(float x) {
    float squared = x * x;
    return squared * squared * x;
}
