// How light reaches a point and leaves it.

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

// Share of six neighbours in a shadow map that the light reaches: percentage-closer filtering on a turned spiral.
float lit(sampler2DShadow map, vec3 at, float radius, float bias) {
    float turn = 6.2831853 * fract(52.9829 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715))));
    float sum = 0.0;
    for (int i = 0; i < SHADOW_TAPS; ++i) {
        float r = radius * sqrt((float(i) + 0.5) / float(SHADOW_TAPS));
        float a = turn + float(i) * 2.399963;
        sum += texture(map, vec3(at.xy + r * vec2(cos(a), sin(a)), at.z - bias));
    }
    return sum / float(SHADOW_TAPS);
}

vec3 map_position(mat4 map_from_car, vec3 p) { return (map_from_car * vec4(p, 1.0)).xyz * 0.5 + 0.5; }

bool within(vec3 at) { return all(greaterThan(at, vec3(0.01))) && all(lessThan(at, vec3(0.99))); }

// Share of the sun that reaches p: the sharp map about the head, else the coarse one of the cabin.
float sunlit(vec3 p, vec3 n) {
    if (sun.w < 0.5) return 0.0;
    vec3 at = map_position(near_sun_from_car, p + 1.2 * n);
    if (within(at)) return lit(near_sun_map, at, 0.0035, 0.0012);
    at = map_position(far_sun_from_car, p + 12.0 * n);
    return within(at) ? lit(far_sun_map, at, 0.003, 0.002) : 1.0;
}

// Share of the key light that reaches p, with the wide penumbra of a window.
float key_lit(vec3 p, vec3 n) {
    vec3 at = map_position(key_from_car, p + 2.0 * n);
    return within(at) ? lit(key_map, at, 0.022, 0.004) : 1.0;
}

// GGX with Schlick's Fresnel and Smith's shadowing in Karis' form; times the cosine.
float specular(vec3 n, vec3 v, vec3 l, float roughness, float f0) {
    vec3 h = normalize(v + l);
    float nh = max(dot(n, h), 0.0), nl = max(dot(n, l), 0.0), nv = max(dot(n, v), 0.05);
    float a = roughness * roughness, a2 = a * a;
    float d = nh * nh * (a2 - 1.0) + 1.0;
    float k = (roughness + 1.0) * (roughness + 1.0) / 8.0;
    float visibility = 1.0 / (4.0 * (nl * (1.0 - k) + k) * (nv * (1.0 - k) + k));
    float fresnel = f0 + (1.0 - f0) * pow(1.0 - max(dot(v, h), 0.0), 5.0);
    return a2 / (PI * d * d) * visibility * fresnel * nl * PI;   // irradiance is over pi throughout
}

// Fresnel reflectance of a rough surface for light from all around.
float fresnel_rough(float nv, float f0, float roughness) {
    return f0 + (max(1.0 - roughness, f0) - f0) * pow(1.0 - clamp(nv, 0.0, 1.0), 5.0);
}

// Irradiance over pi of lamp i at p on a surface that faces it; l is the unit vector towards the lamp.
vec3 lamp_at(int i, vec3 p, out vec3 l) {
    vec3 to = lamp_mm[i].xyz - p;
    float squared = dot(to, to);
    l = to * inversesqrt(squared);
    return lamp_rgb[i].rgb * (1e6 / max(squared, 1e4)) / PI;
}

int lamp_count() { return int(environment.w + 0.5); }

// What is written: never NaN or infinite, grey in infrared.
vec3 finished(vec3 c) {
    c = infrared() ? vec3(c.r) : c;
    return vec3(c.r >= 0.0 ? min(c.r, 200.0) : 0.0, c.g >= 0.0 ? min(c.g, 200.0) : 0.0, c.b >= 0.0 ? min(c.b, 200.0) : 0.0);
}
