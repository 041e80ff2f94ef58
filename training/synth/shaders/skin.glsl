// Skin: textures over a posed mesh; light that enters is scattered below the surface, light that does not shines.
#include "frame.glsl"

#ifdef VERTEX
#include "ambient.glsl"
in vec3 position;
in vec3 normal;
in vec2 texture_at;
in vec4 masks;         // ambient occlusion, inside of the mouth, ears, conjunctiva
in float of_hand;
out vec3 p, n;
out vec2 at;
out vec4 mask;
out float hand;
out vec4 around;       // what a rough surface mirrors of all around; w: share of the key light
void main() {
    p = position;
    n = normal;
    at = texture_at;
    mask = masks;
    hand = of_hand;
    around.rgb = surroundings_at(reflect(normalize(p - camera.xyz), n), 4.4);
    around.rgb *= 6.0 / (6.0 + around.rgb);   // no pore mirrors a window whole
    around.w = key_share(p, n, int(taps.x));
    gl_Position = clip_from_car * vec4(position, 1.0);
}
#else
#include "ambient.glsl"
#include "light.glsl"
in vec3 p, n;
in vec2 at;
in vec4 mask;
in float hand;
in vec4 around;
layout(binding = 8) uniform sampler2D albedo_map;   // square roots of albedo; alpha: of the albedo in infrared
layout(binding = 9) uniform sampler2D relief_map;   // slopes of the relief from texel to texel; roughness
uniform uint skin_label, hand_label;
layout(location = 0) out vec4 colour;
layout(location = 1) out uint part;

// Reach of scattering in skin, red to blue, as a wrap of the cosine (after Green 2004 and Penner 2011).
const vec3 WRAP = vec3(0.30, 0.14, 0.09);
// Skin blurs its own relief: how much of the smooth normal each colour sees.
const vec3 SMOOTHNESS = vec3(0.75, 0.45, 0.30);

vec3 scattered(vec3 smooth_normal, vec3 rough_normal, vec3 l) {
    vec3 cosine = mix(vec3(dot(rough_normal, l)), vec3(dot(smooth_normal, l)), SMOOTHNESS);
    vec3 wrap = infrared() ? vec3(0.35) : WRAP;
    return clamp((cosine + wrap) / ((1.0 + wrap) * (1.0 + wrap)), 0.0, 1.0);
}

// Two lobes: oil and the surface below it (d'Eon and Luebke 2007).
float skin_shine(vec3 normal, vec3 view, vec3 l, float roughness) {
    float rough = specular(normal, view, l, roughness, 0.028), oily = specular(normal, view, l, roughness * 0.7, 0.028);
    return mix(rough, oily, 0.15);
}

vec3 with_relief(vec3 normal, vec2 slope) {
    vec3 px = dFdx(p), py = dFdy(p);
    float hx = dot(slope, dFdx(at)), hy = dot(slope, dFdy(at));
    vec3 rx = cross(py, normal), ry = cross(normal, px);
    float area = dot(px, rx);
    vec3 gradient = sign(area) * (hx * rx + hy * ry);
    vec3 bent = abs(area) * normal - gradient;
    float size = dot(bent, bent);
    return size > 1e-20 ? bent * inversesqrt(size) : normal;
}

void main() {
    vec3 view = normalize(camera.xyz - p), smooth_normal = normalize(n);
    vec4 relief = texture(relief_map, at);
    relief *= 255.0 / 254.0;
    vec2 slope = (relief.xy - 0.5) * 2.0 * STEEPEST_MM * vec2(textureSize(relief_map, 0));   // per texture
    vec3 normal = with_relief(smooth_normal, slope);
    float roughness = clamp(relief.z, 0.3, 0.9);

    vec4 stored = texture(albedo_map, at);
    stored *= stored;
    vec3 albedo = infrared() ? stored.aaa : stored.rgb;
    albedo *= mix(vec3(1.0), infrared() ? vec3(0.5) : vec3(0.5, 0.22, 0.20), mask.y);

    albedo = mix(albedo, infrared() ? vec3(0.5) : vec3(0.45, 0.19, 0.16), 0.8 * mask.w);   // the lids' wet inside
    float occlusion = clamp(mask.x, 0.0, 1.0);
    // Light between close surfaces is reddened by the skin that it meets (Jimenez 2016).
    vec3 ambient = mix(albedo, vec3(1.0), occlusion) * occlusion * around.w;
    vec3 bent = mix(normal, smooth_normal, 0.4);
    vec3 diffuse = irradiance(bent) * ambient;
    float open = 0.7 * occlusion * mix(0.3, 1.0, around.w);
    float nv = max(dot(normal, view), 0.12);
    vec3 shine = around.rgb * fresnel_rough(nv, 0.028, max(roughness, 0.6)) * open;

    if (sun.w > 0.5) {
        float s = dot(smooth_normal, sun.xyz) > -0.4 ? sunlit(p, smooth_normal, SHADOW_TAPS) : 0.0;
        vec3 reddened = infrared() ? vec3(s) : vec3(sqrt(s), s, s);
        diffuse += sun_rgb.rgb / PI * scattered(smooth_normal, normal, sun.xyz) * reddened;
        shine += sun_rgb.rgb / PI * s * skin_shine(normal, view, sun.xyz, roughness);
        // Ears are thin: the sun behind them shines through.
        float behind = max(dot(-smooth_normal, sun.xyz), 0.0) * mask.z;
        if (behind > 0.0)
            diffuse += sun_rgb.rgb / PI * behind * sunlit(p + 7.0 * sun.xyz, sun.xyz, 1) * vec3(0.22, 0.06, 0.03);
    }
    for (int i = 0; i < lamp_count(); ++i) {
        vec3 l;
        vec3 e = lamp_at(i, p, l) * mix(0.5, 1.0, occlusion);
        diffuse += e * scattered(smooth_normal, normal, l);
        shine += e * skin_shine(normal, view, l, roughness);
    }
    colour = vec4(finished(albedo * diffuse + shine), 1.0);
    part = hand > 0.5 ? hand_label : skin_label;
}
#endif
