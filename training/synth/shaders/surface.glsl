// Plain surfaces and lenses: cabin, seats, wheel, belt, clothes, frames, hats, teeth.
// A lens (opacity < 1) is blended over what lies behind: its colour comes premultiplied.
#include "frame.glsl"

#ifdef VERTEX
#include "ambient.glsl"
in vec3 position;
in vec3 normal;
in vec3 tint;
uniform mat4 car_from_model;
uniform vec2 gloss;          // roughness, reflectance at normal incidence
out vec3 p, n, albedo;
out vec3 around, mirrored;   // diffuse light from all around, and what a rough surface mirrors of it
void main() {
    p = (car_from_model * vec4(position, 1.0)).xyz;
    n = mat3(car_from_model) * normal;
    vec3 view = normalize(camera.xyz - p);
    albedo = tint;
    float reach = key_share(p, n, int(taps.x));
    around = irradiance(n) * reach;
    mirrored = vec3(0.0);
    if (gloss.x > SHARPEST_ROUGH)
        mirrored = surroundings_at(reflect(-view, n), gloss.x * 6.0) * mix(0.15, 0.5, reach)
                 * fresnel_rough(max(dot(n, view), 0.15), gloss.y, gloss.x);
    gl_Position = clip_from_car * vec4(p, 1.0);
}
#else
#include "ambient.glsl"
#include "light.glsl"
in vec3 p, n, albedo;
in vec3 around, mirrored;
uniform vec4 surface;        // albedo in this picture's light; w: opacity
uniform vec2 gloss;
uniform uint label;
layout(location = 0) out vec4 colour;
layout(location = 1) out uint part;

void main() {
    vec3 view = normalize(camera.xyz - p), normal = normalize(n);
    float roughness = gloss.x, f0 = gloss.y, opacity = surface.w;
    vec3 diffuse = around, shine = mirrored;
    if (roughness <= SHARPEST_ROUGH) {
        if (dot(normal, view) < 0.0) normal = -normal;   // lenses and mirrors are sheets
        float nv = max(dot(normal, view), 0.0);
        shine = surroundings_at(reflect(-view, normal), roughness * 6.0) * fresnel_rough(nv, f0, roughness);
    }
    float towards_sun = dot(normal, sun.xyz);
    if (sun.w > 0.5 && towards_sun > 0.0) {
        vec3 e = sun_rgb.rgb / PI * sunlit(p, normal, 1);
        diffuse += e * towards_sun;
        shine += e * specular(normal, view, sun.xyz, max(roughness, 0.08), f0);
    }
    for (int i = 0; i < lamp_count(); ++i) {
        vec3 l;
        vec3 e = lamp_at(i, p, l);
        diffuse += e * max(dot(normal, l), 0.0);
        if (roughness <= SHARPEST_ROUGH) shine += e * specular(normal, view, l, max(roughness, 0.08), f0);
    }
    // Glass scatters nothing: it mirrors, and holds back some of what is behind it.
    vec3 own = opacity < 1.0 ? vec3(0.0) : surface.rgb * albedo * diffuse;
    colour = vec4(finished(own + min(shine, vec3(20.0))), opacity);
    part = label;
}
#endif
