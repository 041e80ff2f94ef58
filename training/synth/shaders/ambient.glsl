// Light from all around, for vertices and fragments alike.

// Irradiance of the surroundings (Ramamoorthi and Hanrahan 2001), over pi: times albedo it is radiance.
vec3 irradiance(vec3 n) {
    vec3 e = irradiance_sh[0].rgb * 0.282095
           + 0.488603 * (irradiance_sh[1].rgb * n.y + irradiance_sh[2].rgb * n.z + irradiance_sh[3].rgb * n.x)
           + 1.092548 * (irradiance_sh[4].rgb * n.x * n.y + irradiance_sh[5].rgb * n.y * n.z
                       + irradiance_sh[7].rgb * n.x * n.z)
           + 0.315392 * irradiance_sh[6].rgb * (3.0 * n.z * n.z - 1.0)
           + 0.546274 * irradiance_sh[8].rgb * (n.x * n.x - n.y * n.y);
    return max(e, vec3(0.0));
}

vec3 map_position(mat4 map_from_car, vec3 p) { return (map_from_car * vec4(p, 1.0)).xyz * 0.5 + 0.5; }

bool within(vec3 at) { return all(greaterThan(at, vec3(0.01))) && all(lessThan(at, vec3(0.99))); }

// Fresnel reflectance of a rough surface for light from all around.
float fresnel_rough(float nv, float f0, float roughness) {
    return f0 + (max(1.0 - roughness, f0) - f0) * fifth(1.0 - clamp(nv, 0.0, 1.0));
}

const vec2 DISC[12] = vec2[](vec2(0.204, 0.0), vec2(-0.603, -0.107), vec2(0.353, -0.866), vec2(0.348, 0.915),
                             vec2(-0.261, 0.239), vec2(0.571, -0.364), vec2(-0.191, 0.711), vec2(-0.365, -0.701),
                             vec2(0.790, 0.288), vec2(-0.805, 0.371), vec2(0.040, -0.455), vec2(0.328, 0.429));

// Share of the diffuse light that reaches p, as far as one mean direction tells. The key light is as wide as a window:
// its penumbra is so soft that vertices sample it well enough.
float key_share(vec3 p, vec3 n, int samples) {
    float weight = key.w * clamp(0.25 + 0.85 * dot(n, key.xyz), 0.0, 1.0);
    if (weight <= 0.0) return 1.0;
    vec3 at = map_position(key_from_car, p + 2.0 * n);
    if (any(lessThan(at, vec3(0.03))) || any(greaterThan(at, vec3(0.97)))) return 1.0;
    float sum = 0.0;
    for (int i = 0; i < samples; ++i) sum += texture(key_map, vec3(at.xy + 0.028 * DISC[i], at.z - 0.005));
    return mix(1.0, sum / float(samples), weight);
}
