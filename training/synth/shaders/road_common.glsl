// Light, air and camera that all shaders of the road share. Car frame in metres: x right, y down, z forward.

uniform mat4 u_clip_car;      // car frame to clip space
uniform vec3 u_eye;           // where the camera is
uniform vec3 u_sun;           // unit vector towards the sun
uniform vec3 u_sun_rgb;       // irradiance of the sun on a face that looks at it
uniform vec3 u_ambient_rgb;   // irradiance of the whole sky on level ground
uniform vec3 u_zenith_rgb;    // radiance of the sky
uniform vec3 u_horizon_rgb;
uniform float u_fog_m;        // distance at which air lets 37 % of the light through
uniform float u_wet;          // 0 dry, 1 raining
uniform float u_lamps_on;     // 0 day, 1 night: vehicles' and street lamps
uniform float u_car_x;        // middle of the own car
uniform vec4 u_street;        // street lamps: spacing along s, distance |u|, height, irradiance below

const float EYE_HEIGHT = 1.2;

vec3 sky_rgb(vec3 d) {
    return mix(u_horizon_rgb, u_zenith_rgb, 1.0 - exp(-3.2 * max(-d.y, 0.0)));
}

vec3 in_air(vec3 radiance, vec3 p) {
    return mix(u_horizon_rgb, radiance, exp(-length(p - u_eye) / u_fog_m));
}

// Irradiance of the own dipped headlights: two merged lobes that fade with distance, cut off above the lamps.
float headlights(vec3 p) {
    float z = max(p.z - 1.4, 0.1);
    float aside = (p.x - u_car_x) / (1.1 + 0.26 * z);
    float above = EYE_HEIGHT - 0.62 - p.y;
    float cut = mix(1.0, 0.07, smoothstep(-0.15, 0.45, above - 0.004 * z));
    return 2.2 * exp(-aside * aside) * smoothstep(1.0, 9.0, z) * cut / (1.0 + z * z / 500.0);
}

// Irradiance of the two nearest street lamps on either side; s and u are road coordinates.
float street_lamps(float s, float u) {
    if (u_street.x <= 0.0) return 0.0;
    float ds = s - u_street.x * floor(s / u_street.x + 0.5);
    float du = abs(u) - u_street.y;
    float h2 = u_street.z * u_street.z;
    float lit = h2 / (h2 + ds * ds + du * du);
    return u_street.w * lit * sqrt(lit);
}

vec3 irradiance(vec3 p, vec3 n, float s, float u) {
    float up = 0.5 - 0.5 * n.y;
    vec3 light = u_ambient_rgb * mix(0.35, 1.0, up) + u_sun_rgb * max(dot(n, u_sun), 0.0);
    // A loop that runs once or never: llvmpipe evaluates both sides of a branch, but leaves a loop.
    for (int k = 0; k < int(ceil(u_lamps_on)); ++k) {
        vec3 to_lamp = normalize(vec3(u_car_x, EYE_HEIGHT - 0.62, 1.4) - p);
        // Rough ground sends back more than a matt plane would at such grazing light.
        float own = headlights(p) * max(max(dot(n, to_lamp), 0.0), 0.55 * up);
        vec3 lamps = vec3(1.0, 0.93, 0.82) * own * 0.9 + vec3(1.0, 0.72, 0.42) * street_lamps(s, u) * (0.4 + 0.6 * up);
        light += u_lamps_on * lamps;
    }
    return light;
}
