// Sky: gradient, sun, clouds, and the far silhouette of hills, woods or houses.
#include "road_common.glsl"

#ifdef VERTEX

uniform mat3 u_car_picture;   // clip-space point (x, y, 1) to a ray in the car frame
in vec2 in_clip;
out vec3 v_ray;

void main() {
    v_ray = u_car_picture * vec3(in_clip, 1.0);
    gl_Position = vec4(in_clip, 1.0, 1.0);
}

#else

uniform sampler2D u_noise;
uniform float u_heading;      // of the car in the world
uniform float u_clouds;       // 0 clear, 1 covered
uniform vec3 u_cloud_rgb;
uniform vec3 u_silhouette_rgb;
uniform float u_town;         // 1: the silhouette has roofs
uniform float u_seed;
in vec3 v_ray;
out vec4 out_rgb;

void main() {
    vec3 d = normalize(v_ray);
    vec3 rgb = sky_rgb(d);
    float c = cos(u_heading), s = sin(u_heading);
    vec2 flat_ray = vec2(c * d.x + s * d.z, c * d.z - s * d.x);
    float up = -d.y;
    vec2 plane = flat_ray / (max(up, 0.0) + 0.12);
    vec4 wide = texture(u_noise, plane * 0.045 + u_seed);
    float density = wide.b * 0.8 + wide.g * 0.2;
    float cover = smoothstep(0.62 - 0.45 * u_clouds, 0.86 - 0.3 * u_clouds, density) * smoothstep(0.0, 0.1, up);
    vec3 cloud = u_cloud_rgb * (0.72 + 0.5 * (1.0 - density));
    rgb = mix(rgb, cloud, cover * (0.25 + 0.75 * u_clouds));
    float sun = max(dot(d, u_sun), 0.0);
    rgb += u_sun_rgb * (0.25 * pow(sun, 24.0) + 6.0 * smoothstep(0.9994, 0.9998, sun)) * (1.0 - cover);

    float azimuth = atan(flat_ray.x, flat_ray.y);
    float rough = textureLod(u_noise, vec2(azimuth * 1.2, up * 9.0 + u_seed), 0.0).r;
    float smooth_hills = textureLod(u_noise, vec2(azimuth * 0.16 + u_seed, 0.31), 0.0).b;
    float roofs = textureLod(u_noise, vec2((floor(azimuth * 90.0) + 0.5) / 512.0, 0.77), 0.0).a;
    float height = mix(0.10 * max(smooth_hills - 0.42, 0.0) + 0.016 * rough + 0.006, 0.02 + 0.05 * roofs * roofs, u_town);
    float edge = max(fwidth(up), 1e-4);
    rgb = mix(rgb, u_silhouette_rgb * (0.9 + 0.2 * rough), smoothstep(edge, -edge, up - height));
    out_rgb = vec4(rgb, 1.0);
}

#endif
