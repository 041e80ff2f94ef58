// Locks of hair as ribbons that face the eye of the beholder: the camera, or the light of a shadow map.
// Shading after Kajiya and Kay 1989 with Marschner's two shifted highlights, the second in the colour of the hair.
#include "frame.glsl"

#ifdef VERTEX
in vec3 position;
in vec3 tangent;
in vec3 volume_normal;   // out of the mass of hair
in vec4 strand;          // across the lock -1 or 1, width in mm, along from root 0 to tip 1, share of light that gets in
in vec4 tint;            // albedo in visible light; w: in infrared
in float chance;         // random number of the lock
uniform mat4 car_from_model;
uniform float thickening;     // of locks that also stand for those left out
#ifdef DEPTH
uniform mat4 clip_from_car_light;
uniform vec3 towards_light;
void main() {
    vec3 p = (car_from_model * vec4(position, 1.0)).xyz, t = mat3(car_from_model) * tangent;
    vec3 side = cross(t, towards_light);
    side *= inversesqrt(max(dot(side, side), 1e-8));
    gl_Position = clip_from_car_light * vec4(p + side * strand.x * strand.y * 0.5 * thickening, 1.0);
}
#else
uniform float narrowest_px;   // thinner ribbons are drawn this wide and let through what they should
out vec3 p, t, volume;
out vec4 along;          // across, along, light that gets in, random number
out vec4 albedo;         // w: opacity
void main() {
    p = (car_from_model * vec4(position, 1.0)).xyz;
    t = mat3(car_from_model) * tangent;
    volume = mat3(car_from_model) * volume_normal;
    vec3 towards = camera.xyz - p;
    float distance = length(towards);
    vec3 side = cross(t, towards);
    side *= inversesqrt(max(dot(side, side), 1e-8));
    float width = strand.y * thickening, narrowest = narrowest_px * distance / camera.w;
    float drawn = max(width, narrowest);
    albedo = vec4(infrared() ? tint.www : tint.rgb, clamp(width / max(drawn, 1e-4), 0.0, 1.0));
    along = vec4(strand.x, strand.z, strand.w, chance);
    p += side * strand.x * drawn * 0.5;
    gl_Position = clip_from_car * vec4(p, 1.0);
}
#endif

#elif defined DEPTH
void main() {}

#else
#include "light.glsl"
in vec3 p, t, volume;
in vec4 along, albedo;
uniform float gloss;
uniform uint label;
layout(location = 0) out vec4 colour;
layout(location = 1) out uint part;

// A highlight about the cone that a fibre mirrors light into; shift tilts it towards the root.
float highlight(vec3 tangent, vec3 normal, vec3 half_way, float shift, float exponent) {
    float c = dot(normalize(tangent + shift * normal), half_way);
    return pow(sqrt(max(1.0 - c * c, 0.0)), exponent);
}

vec3 fibre(vec3 tangent, vec3 normal, vec3 view, vec3 l, vec3 tint, float wobble) {
    float c = dot(tangent, l);
    float diffuse = sqrt(max(1.0 - c * c, 0.0)) * clamp(0.55 * dot(normal, l) + 0.45, 0.0, 1.0);
    vec3 h = normalize(l + view);
    float facing = clamp(dot(normal, l) * 1.5 + 0.4, 0.0, 1.0);
    vec3 shine = vec3(0.035) * highlight(tangent, normal, h, -0.10 + wobble, 90.0)
               + 0.35 * sqrt(tint) * tint * highlight(tangent, normal, h, 0.14 + wobble, 22.0);
    return tint * diffuse + gloss * facing * shine * 3.0;
}

void main() {
    vec3 view = normalize(camera.xyz - p), tangent = normalize(t), normal = normalize(volume);
    // A lock is many hairs side by side: stripes of their own brightness.
    float stripe = texture(noise, vec2(along.x * 0.045 + along.w * 7.3, along.y * 0.06 + along.w)).g;
    float wobble = 0.25 * (stripe - 0.5) + 0.12 * (along.w - 0.5);
    vec3 tint = albedo.rgb * (0.55 + 0.9 * stripe);
    float reach = along.z;

    float key_share = mix(1.0, key_lit(p, normal), key.w * 0.8);
    vec3 facing = normalize(normal + 0.4 * view);
    vec3 light = tint * irradiance(facing) * 1.15;
    vec3 across = normalize(view - tangent * dot(view, tangent) * 0.98);
    light += gloss * (0.02 + 0.12 * tint) * surroundings_at(reflect(-view, normalize(across + 0.5 * normal)), 4.5);
    light *= key_share;
    if (sun.w > 0.5) {
        float s = sunlit(p, normal);
        light += s * sun_rgb.rgb / PI * fibre(tangent, normal, view, sun.xyz, tint, wobble);
    }
    for (int i = 0; i < lamp_count(); ++i) {
        vec3 l;
        vec3 e = lamp_at(i, p, l);
        light += e * fibre(tangent, normal, view, l, tint, wobble);
    }
    float edge = 1.0 - smoothstep(0.7, 1.0, abs(along.x)) * 0.6;
    float opacity = albedo.w * edge * (1.0 - 0.7 * smoothstep(0.75, 1.0, along.y));
    colour = vec4(finished(light * reach) * opacity, opacity);
    part = label;
}
#endif
