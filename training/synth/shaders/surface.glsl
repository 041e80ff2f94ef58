// Plain surfaces and lenses: cabin, seats, wheel, belt, clothes, frames, hats, teeth.
// A lens (opacity < 1) is blended over what lies behind: its colour comes premultiplied.
#include "frame.glsl"

#ifdef VERTEX
in vec3 position;
in vec3 normal;
in vec3 tint;
uniform mat4 car_from_model;
out vec3 p, n, albedo;
void main() {
    p = (car_from_model * vec4(position, 1.0)).xyz;
    n = mat3(car_from_model) * normal;
    albedo = tint;
    gl_Position = clip_from_car * vec4(p, 1.0);
}
#else
#include "light.glsl"
in vec3 p, n, albedo;
uniform vec4 surface;        // albedo in this picture's light; w: opacity
uniform vec2 gloss;          // roughness, reflectance at normal incidence
uniform uint label;
layout(location = 0) out vec4 colour;
layout(location = 1) out uint part;

void main() {
    vec3 view = normalize(camera.xyz - p), normal = normalize(n);
    if (dot(normal, view) < 0.0) normal = -normal;
    float roughness = gloss.x, f0 = gloss.y, nv = max(dot(normal, view), 0.0);
    float sunshine = dot(normal, sun.xyz) > 0.0 ? sunlit(p, normal) : 0.0;
    float key_share = mix(1.0, key_lit(p, normal), key.w);

    vec3 diffuse = irradiance(normal) * key_share + sun_rgb.rgb / PI * sunshine * max(dot(normal, sun.xyz), 0.0);
    float reflectance = fresnel_rough(nv, f0, roughness);
    vec3 shine = surroundings_at(reflect(-view, normal), roughness * 6.0) * reflectance * mix(0.3, 1.0, key_share);
    shine += sun_rgb.rgb / PI * sunshine * specular(normal, view, sun.xyz, max(roughness, 0.08), f0);
    for (int i = 0; i < lamp_count(); ++i) {
        vec3 l;
        vec3 e = lamp_at(i, p, l);
        diffuse += e * max(dot(normal, l), 0.0);
        shine += e * specular(normal, view, l, max(roughness, 0.08), f0);
    }
    float opacity = surface.w;
    colour = vec4(finished(surface.rgb * albedo * diffuse * opacity + min(shine, vec3(20.0))), opacity);
    part = label;
}
#endif
