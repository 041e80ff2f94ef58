// Locks of hair as ribbons that face the eye of the beholder: the camera, or the light of a shadow map.
// Shading after Kajiya and Kay 1989 with Marschner's two shifted highlights, the second in the colour of the hair.
#include "frame.glsl"

#ifdef VERTEX
#include "ambient.glsl"
in vec3 position;
in vec3 tangent;
in vec3 volume_normal;   // out of the mass of hair
in vec4 strand;          // across the lock -1 or 1, width in mm, from root 0 to tip 1, share of light that gets in
in vec4 tint;            // albedo in visible light; w: in infrared
in float chance;         // random number of the lock
uniform mat4 car_from_model;
uniform float gloss;
uniform float thickening;     // of locks that also stand for those left out
uniform bool hangs;           // as hair of the head does: what lies on the shoulders stays there when the head turns

vec3 in_car(vec3 at) {
    vec3 held_by_head = (car_from_model * vec4(at, 1.0)).xyz;
    float lying = hangs ? smoothstep(80.0, 200.0, at.y) : 0.0;
    if (lying == 0.0) return held_by_head;
    const vec3 NECK = vec3(0.0, 100.0, -85.0);
    return mix(held_by_head, (car_from_model * vec4(NECK, 1.0)).xyz + at - NECK, lying);
}

#ifdef DEPTH
uniform mat4 clip_from_car_light;
uniform vec3 towards_light;
void main() {
    vec3 p = in_car(position), t = mat3(car_from_model) * tangent;
    vec3 side = cross(t, towards_light);
    side *= inversesqrt(max(dot(side, side), 1e-8));
    gl_Position = clip_from_car_light * vec4(p + side * strand.x * strand.y * 0.5 * thickening, 1.0);
}
#else
uniform float narrowest_px;   // thinner ribbons are drawn this wide and let through what they should
out vec3 p, t, volume, view;
out vec3 around;         // light from all around, over albedo
out vec4 along;          // across, along, share of the sun, random number
out vec4 albedo;         // w: opacity
void main() {
    p = in_car(position);
    t = mat3(car_from_model) * tangent;
    volume = mat3(car_from_model) * volume_normal;
    vec3 towards = camera.xyz - p;
    float distance = length(towards);
    vec3 side = cross(t, towards);
    side *= inversesqrt(max(dot(side, side), 1e-8));
    float width = strand.y * thickening, narrowest = narrowest_px * distance / camera.w;
    float drawn = max(width, narrowest);
    albedo = vec4(infrared() ? tint.www : tint.rgb, clamp(width / max(drawn, 1e-4), 0.0, 1.0));
    view = towards / distance;
    vec3 sheen = irradiance(normalize(reflect(-view, normalize(0.6 * (view - t * dot(view, t)) + volume))));
    around = 0.85 * irradiance(normalize(volume + 0.4 * view)) + 0.08 * gloss * sheen;
    around *= strand.w * key_share(p, volume, 2);
    float sunny = 0.0;
    if (sun.w > 0.5) {
        vec3 at = map_position(near_sun_from_car, p + 2.5 * volume);
        sunny = strand.w * (within(at) ? texture(near_sun_map, vec3(at.xy, at.z - 0.002)) : 1.0);
    }
    along = vec4(strand.x, strand.z, sunny, chance);
    p += side * strand.x * drawn * 0.5;
    gl_Position = clip_from_car * vec4(p, 1.0);
}
#endif

#elif defined DEPTH
void main() {}

#else
#include "ambient.glsl"
#include "light.glsl"
in vec3 p, t, volume, view;
in vec3 around;
in vec4 along, albedo;
uniform float gloss;
uniform uint label;
layout(location = 0) out vec4 colour;
layout(location = 1) out uint part;

// Squared sine of the angle between a fibre, its scales tilted by shift, and a direction: the base of highlights.
float sine_squared(vec3 tangent, vec3 normal, vec3 half_way, float shift) {
    float c = dot(normalize(tangent + shift * normal), half_way);
    return max(1.0 - c * c, 0.0);
}

vec3 fibre(vec3 tangent, vec3 normal, vec3 l, vec3 tint, float wobble) {
    float c = dot(tangent, l), toward = dot(normal, l);
    float diffuse = sqrt(max(1.0 - c * c, 0.0)) * clamp(0.55 * toward + 0.45, 0.0, 1.0);
    vec3 h = normalize(l + view);
    float first = sine_squared(tangent, normal, h, -0.10 + wobble);
    float second = sine_squared(tangent, normal, h, 0.14 + wobble);
    vec3 shine = vec3(0.035) * pow(first, 30.0) + 0.4 * tint * pow(second, 10.0);
    return tint * diffuse * 0.55 + gloss * clamp(toward * 1.5 + 0.4, 0.0, 1.0) * shine;
}

void main() {
    vec3 tangent = normalize(t), normal = normalize(volume);
    // A lock is many hairs side by side: stripes of their own brightness.
    float stripe = texture(noise, vec2(along.x * 0.045 + along.w * 7.3, along.y * 0.06 + along.w)).g;
    float wobble = 0.25 * (stripe - 0.5) + 0.12 * (along.w - 0.5);
    vec3 tint = albedo.rgb * (0.5 + 1.0 * stripe);

    vec3 light = tint * around + 0.02 * around;
    if (along.z > 0.0) light += along.z * sun_rgb.rgb / PI * fibre(tangent, normal, sun.xyz, tint, wobble);
    for (int i = 0; i < lamp_count(); ++i) {
        vec3 l;
        vec3 e = lamp_at(i, p, l);
        light += e * fibre(tangent, normal, l, tint, wobble);
    }
    float edge = 1.0 - smoothstep(0.7, 1.0, abs(along.x)) * 0.6;
    float opacity = albedo.w * edge * (1.0 - 0.7 * smoothstep(0.75, 1.0, along.y));
    colour = vec4(finished(light) * opacity, opacity);
    part = label;
}
#endif
