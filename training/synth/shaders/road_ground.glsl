// The ground in road coordinates: asphalt, markings, kerbs, pavements, grass. Edges are box-filtered over the pixel.
#include "road_common.glsl"

#ifdef VERTEX

in vec3 in_position;          // car frame
in vec2 in_road;              // s, u
out vec3 v_position;
out vec2 v_road;

void main() {
    v_position = in_position;
    v_road = in_road;
    gl_Position = u_clip_car * vec4(in_position, 1.0);
}

#else

#define LINES 14
#define JUNCTIONS 4
uniform sampler2D u_noise;
uniform vec4 u_lines[LINES];       // u, half width, period, dash
uniform float u_yellow[LINES];
uniform vec2 u_counts;               // of lines and junctions in use
uniform vec2 u_junctions[JUNCTIONS]; // s, and 1 with stop lines and crossings
uniform vec4 u_across;             // half widths: median, asphalt, asphalt with pavement; distance of wheel tracks' lanes
uniform float u_lane;              // middle of a lane
uniform vec3 u_verge_rgb;
uniform vec3 u_asphalt_rgb;
in vec3 v_position;
in vec2 v_road;
out vec4 out_rgb;

float band(float x, float low, float high, float w) {
    return (clamp(x + 0.5 * w, low, high) - clamp(x - 0.5 * w, low, high)) / w;
}

float painted(float x, float period, float dash) {
    float k = x / period;
    return floor(k) * dash + min(fract(k) * period, dash);
}

float dashes(float x, float period, float dash, float w) {
    return (painted(x + 0.5 * w, period, dash) - painted(x - 0.5 * w, period, dash)) / w;
}

void main() {
    float s = v_road.x, u = v_road.y, across = abs(u);
    float ws = max(fwidth(s), 1e-3), wu = max(fwidth(u), 1e-3);
    vec4 fine = texture(u_noise, v_road * 0.23);
    vec4 wide = texture(u_noise, v_road * vec2(0.013, 0.051) + 0.37);

    float asphalt = band(across, u_across.x, u_across.y, wu);
    float junction = 0.0, paint = 0.0, keep = 1.0;
    for (int j = 0; j < int(u_counts.y); ++j) {
        float ds = s - u_junctions[j].x;
        float side_road = band(ds, -4.5, 4.5, ws);
        junction = max(junction, side_road);
        keep *= 1.0 - band(ds, -8.9, 8.9, ws);
        float stop = band(ds, -9.4, -9.0, ws) * step(0.0, u) + band(ds, 9.0, 9.4, ws) * step(u, 0.0);
        float zebra = band(abs(ds), 5.4, 8.2, ws) * dashes(u, 1.1, 0.55, wu);
        paint = max(paint, u_junctions[j].y * max(stop, zebra) * step(across, u_across.y - 0.3));
    }
    asphalt = max(asphalt, junction * step(u_across.x, across));
    float yellow = 0.0;
    for (int k = 0; k < int(u_counts.x); ++k) {
        vec4 line = u_lines[k];
        float on = band(u, line.x - line.y, line.x + line.y, wu) * keep;
        on *= line.z > 0.0 ? dashes(s, line.z, line.w, ws) : 1.0;
        yellow = max(yellow, on * u_yellow[k]);
        paint = max(paint, on);
    }
    paint *= 0.72 + 0.28 * smoothstep(0.2, 0.5, fine.r);

    float from_lane = abs(fract((u - u_lane) / u_across.w + 0.5) - 0.5) * u_across.w;
    float track = exp(-8.0 * (from_lane - 0.78) * (from_lane - 0.78));
    float oil = exp(-5.0 * from_lane * from_lane);
    vec3 tar = u_asphalt_rgb * (0.15 + 0.65 * fine.r + 0.35 * fine.g + 0.4 * fine.a + 0.3 * wide.g) * (1.0 - 0.13 * track - 0.1 * oil);
    float crack = 1.0 - smoothstep(0.0, 0.012 + 0.25 * ws, abs(fine.b - 0.5));
    tar *= 1.0 - 0.4 * crack * smoothstep(0.6, 0.75, wide.b) / (1.0 + 8.0 * ws);
    float patched = step(0.83, fract(sin(floor(s / 11.0) * 12.9898) * 43758.5)) * band(from_lane, 0.0, 1.3, wu);
    tar *= 1.0 - 0.22 * patched;
    tar = mix(tar, mix(vec3(0.62), vec3(0.62, 0.4, 0.04), yellow), paint);

    float slab = 1.0 - 0.35 * max(dashes(s, 0.9, 0.03, ws), dashes(u, 0.9, 0.03, wu));
    vec3 paving = vec3(0.3, 0.29, 0.27) * slab * (0.5 + 0.5 * fine.r + 0.5 * fine.g);
    vec3 kerb = vec3(0.42) * (0.8 + 0.3 * fine.r) * (1.0 - 0.3 * dashes(s, 1.0, 0.03, ws));
    vec3 verge = u_verge_rgb * (0.8 * fine.r + 0.7 * fine.g + 0.5 * fine.a + 0.3 * wide.r) * mix(vec3(0.95, 1.04, 1.0), vec3(1.18, 1.0, 0.75), smoothstep(0.3, 0.7, wide.g));
    vec3 beside = mix(verge, paving, band(across, u_across.y, u_across.z, wu));
    float has_kerb = step(u_across.y + 0.1, u_across.z);
    beside = mix(beside, kerb, has_kerb * band(across, u_across.y, u_across.y + 0.16, wu));
    beside *= 1.0 - 0.4 * has_kerb * band(across, u_across.y + 0.0, u_across.y + 0.03, wu);
    vec3 albedo = mix(beside, tar, asphalt);

    vec3 to_eye = normalize(u_eye - v_position);
    vec3 rgb = albedo * mix(1.0, 0.55, u_wet * asphalt) * irradiance(v_position, vec3(0.0, -1.0, 0.0), s, u);
    float grazing = clamp(1.0 + to_eye.y, 0.0, 1.0);
    float mirror = pow(grazing, 5.0) * asphalt * (0.16 + u_wet * (0.38 + 0.22 * smoothstep(0.35, 0.75, wide.g)));
    vec3 mirrored = sky_rgb(vec3(-to_eye.x, to_eye.y, -to_eye.z));
    rgb = mix(rgb, mirrored, mirror * (0.35 + 0.65 * u_wet) * (0.8 + 0.4 * fine.r));
    out_rgb = vec4(in_air(rgb, v_position), 1.0);
}

#endif
