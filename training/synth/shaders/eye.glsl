// An eye, traced ray by ray over a patch that covers the opening of the lids: the globe, and in front of it the corneal
// sphere through which iris and pupil are seen refracted. Lengths of the model eye as in `eyes.py`.
#include "frame.glsl"

uniform vec3 centre;
#ifdef VERTEX
in vec2 corner;
out vec3 p;
void main() {
    vec3 towards = normalize(camera.xyz - centre);
    vec3 right = normalize(cross(towards, vec3(0.0, 1.0, 0.0))), up = cross(right, towards);
    p = centre + 14.0 * (corner.x * right + corner.y * up);
    gl_Position = clip_from_car * vec4(p, 1.0);
}
#else
#include "ambient.glsl"
#include "light.glsl"
in vec3 p;
uniform mat3 eye_from_car;      // x to the person's right, y down, z along the optical axis
uniform mat3 head_from_car;
uniform vec4 globe;             // radius of globe, radius of cornea, its centre and the iris plane along the axis
uniform vec4 iris;              // radius of iris and pupil, refractive index, random number of the eye
uniform vec3 iris_albedo;
uniform vec2 lids[LID_SAMPLES];     // elevation of upper and lower margin about the centre, in radians, left to right
uniform vec2 lid_azimuths;          // azimuth of the first and the last of them
uniform vec2 corners;               // azimuth of the inner and the outer corner of the lids
uniform uint label;
layout(location = 0) out vec4 colour;
layout(location = 1) out uint part;

// Distance along a unit ray to a sphere's near side; negative if it misses.
float sphere(vec3 from, vec3 ray, vec3 middle, float radius) {
    vec3 to = from - middle;
    float b = dot(to, ray), c = dot(to, to) - radius * radius, q = b * b - c;
    return q < 0.0 ? -1.0 : -b - sqrt(q);
}

vec2 lid_margins(float azimuth) {
    float at = clamp((azimuth - lid_azimuths.x) / (lid_azimuths.y - lid_azimuths.x), 0.0, 1.0) * float(LID_SAMPLES - 1);
    int i = min(int(at), LID_SAMPLES - 2);
    return mix(lids[i], lids[i + 1], at - float(i));
}

// Albedo of iris and pupil at a point of the iris plane, in units of the iris radius.
vec3 iris_colour(vec2 at) {
    float r = length(at), turn = atan(at.y, at.x) / (2.0 * PI), pupil = iris.y / iris.x;
    float width = (r - pupil) / (1.0 - pupil);
    vec4 fine = texture(noise, vec2(turn * 3.0 + iris.w, r * 0.10 + iris.w));
    vec4 coarse = texture(noise, vec2(turn + iris.w * 3.0, r * 0.05));
    float fibres = 0.62 + 0.9 * (fine.g - 0.5) + 0.5 * (coarse.r - 0.5) + 0.38;
    float collarette = 1.0 + 0.45 * exp(-pow((width - 0.28 - 0.06 * (coarse.a - 0.5)) / 0.10, 2.0));
    vec3 ground = iris_albedo * max(fibres, 0.15) * collarette;
    // Brown about the pupil in light irises, the dark ring of the limbus outside.
    vec3 amber = infrared() ? ground : mix(ground, ground.rrr * vec3(1.1, 0.62, 0.28), 0.35);
    ground = mix(amber, ground, smoothstep(0.1, 0.45, width));
    ground *= mix(1.0, infrared() ? 0.75 : 0.35, smoothstep(0.72, 1.0, r));
    float edge = max(fwidth(r), 0.02);
    return mix(vec3(infrared() ? 0.012 : 0.004), ground, smoothstep(pupil - edge, pupil + edge, r));
}

vec3 sclera_colour(vec3 q, float to_corner) {
    if (infrared()) return vec3(0.50 - 0.06 * to_corner);
    vec4 field = texture(noise, q.xy * 0.22 + iris.w);
    float branching = abs(texture(noise, q.yx * vec2(0.225, 0.0625) + iris.w).g - 0.5);
    float vein = smoothstep(0.06, 0.0, branching) * (0.3 + to_corner);
    vec3 white = mix(vec3(0.48, 0.435, 0.39), vec3(0.42, 0.35, 0.27), field.a * field.r);
    white *= mix(vec3(1.0), vec3(0.90, 0.62, 0.54), clamp(0.55 * to_corner + 0.35 * vein, 0.0, 1.0));
    return white;
}

void main() {
    vec3 ray = normalize(p - camera.xyz), from = eye_from_car * (camera.xyz - centre), d = eye_from_car * ray;
    float radius = globe.x, limbus = iris.x;
    float to_globe = sphere(from, d, vec3(0.0), radius);
    float to_cornea = sphere(from, d, vec3(0.0, 0.0, globe.z), globe.y);
    vec3 on_cornea = from + d * to_cornea;
    bool through_cornea = to_cornea > 0.0 && dot(on_cornea, on_cornea) > radius * radius && on_cornea.z > 0.0;
    bool missed = !through_cornea && to_globe < 0.0;
    vec3 q = through_cornea ? on_cornea : missed ? eye_from_car * (p - centre) : from + d * to_globe;  // eye's frame
    vec3 globe_normal = normalize(q), cornea_normal = normalize(q - vec3(0.0, 0.0, globe.z));
    float across = length(q.xy);
    bool front = q.z > 0.0;
    // The two spheres meet in a smooth furrow, not a crease.
    float inner = front ? 1.0 - smoothstep(limbus - 0.5, limbus + 0.5, across) : 0.0;
    vec3 normal = normalize(mix(globe_normal, cornea_normal, front ? 1.0 - smoothstep(5.4, 6.4, across) : 0.0));

    vec3 place = centre + transpose(eye_from_car) * q, view = -ray;
    vec3 n = transpose(eye_from_car) * normal, globe_n = transpose(eye_from_car) * globe_normal;
    vec4 clip = clip_from_car * vec4(place, 1.0);
    gl_FragDepth = clip.z / clip.w * 0.5 + 0.5;

    // Where the point lies in the opening of the lids.
    vec3 in_head = head_from_car * (place - centre);
    float azimuth = atan(in_head.x, in_head.z), elevation = atan(-in_head.y, length(in_head.xz));
    vec2 margins = lid_margins(azimuth);
    float below_upper = (margins.x - elevation) * radius, above_lower = (elevation - margins.y) * radius;
    // Past the globe the socket's flesh closes the corners of the lids, never in front of the lids themselves.
    if (missed && (in_head.z > 7.0 || min(below_upper, above_lower) < -0.6)) discard;
    float to_inner = abs(azimuth - corners.x) * radius, to_outer = abs(azimuth - corners.y) * radius;
    float to_corner = clamp(max(exp(-to_inner / 3.5), exp(-to_outer / 4.0)), 0.0, 1.0);
    float shade = (1.0 - 0.72 * exp(-max(below_upper, 0.0) / 1.9)) * (1.0 - 0.35 * exp(-max(above_lower, 0.0) / 0.9));
    shade *= 1.0 - 0.35 * to_corner;

    vec3 seen = sclera_colour(globe_normal * 6.0, to_corner);
    float under_lids = 1.0 - smoothstep(-0.1, 0.25, min(below_upper, above_lower));
    float flesh = max(1.0 - smoothstep(2.0, 3.4, to_inner), under_lids);
    flesh = missed ? 1.0 : flesh;
    seen = mix(seen, infrared() ? vec3(0.45) : vec3(0.42, 0.17, 0.14), 0.85 * flesh);
    vec3 iris_normal = vec3(0.0, 0.0, 1.0);
    if (inner > 0.0) {
        vec3 inside = refract(d, cornea_normal, 1.0 / iris.z);
        float reach = inside.z < -0.05 ? (globe.w - q.z) / inside.z : 0.0;
        vec2 at = (q + inside * reach).xy / limbus;
        seen = mix(seen, iris_colour(at), inner);
        // The cornea gathers light on the far side of the iris.
        iris_normal = normalize(vec3(-0.45 * at, 1.0));
    }
    vec3 facing = transpose(eye_from_car) * normalize(mix(globe_normal, iris_normal, inner));
    // Flesh fills the corners to the front.
    facing = normalize(mix(facing, view, 0.7 * flesh));
    shade = mix(shade, missed ? 0.35 : 0.7, 0.8 * flesh);

    float key_reach = key_share(place, globe_n, 12);
    vec3 light = irradiance(facing) * shade * mix(0.75, 1.0, key_reach);
    float s = 0.0;
    if (sun.w > 0.5 && dot(globe_n, sun.xyz) > -0.2)
        s = sunlit(place, globe_n, 1) * smoothstep(0.0, 1.2, below_upper);
    vec3 wrap = infrared() ? vec3(0.2) : vec3(0.26, 0.2, 0.17) * (1.0 - inner);
    light += sun_rgb.rgb / PI * s * clamp((dot(facing, sun.xyz) + wrap) / (1.0 + wrap), 0.0, 1.0);

    // The tear film mirrors the windows and the lamps; lids and lashes hide what is above.
    vec3 mirrored = reflect(ray, n), mirrored_in_head = head_from_car * mirrored;
    float hidden = smoothstep(0.35, 0.8, -mirrored_in_head.y + 0.9 * exp(-max(below_upper, 0.0) / 2.0));
    float f0 = 0.022, nv = max(dot(n, view), 0.0);
    float reflectance = f0 + (1.0 - f0) * fifth(1.0 - nv) * 0.35;
    float wet = mix(0.55, 1.0, inner) * shade;
    vec3 shine = surroundings_at(mirrored, mix(2.5, 0.6, inner)) * reflectance * wet * (1.0 - 0.85 * hidden);
    // A glint is smaller than a pixel: spread it over one.
    float pixel_mm = length(camera.xyz - place) / camera.w;
    float gloss = sqrt(max(0.02, 0.7 * pixel_mm / globe.y)) * mix(1.5, 1.0, inner);
    shine += sun_rgb.rgb / PI * s * specular(n, view, sun.xyz, gloss, f0);
    for (int i = 0; i < lamp_count(); ++i) {
        vec3 l;
        vec3 e = lamp_at(i, place, l);
        light += e * shade * clamp((dot(facing, l) + wrap) / (1.0 + wrap), 0.0, 1.0);
        shine += e * smoothstep(0.0, 0.8, below_upper) * specular(n, view, l, gloss, f0);
    }
    // A rim of tears stands on the lower lid.
    float rim = exp(-pow((above_lower - 0.25) / 0.22, 2.0)) * smoothstep(2.0, 4.0, to_inner);
    shine += rim * 0.05 * irradiance(normalize(view + facing));
    colour = vec4(finished(seen * light + shine), 1.0);
    part = label;
}
#endif
