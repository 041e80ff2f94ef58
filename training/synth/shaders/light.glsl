// Light that comes from one direction, for fragments; needs ambient.glsl.

// A sunflower's spiral in the unit disc.
const vec2 SPIRAL[6] = vec2[](vec2(0.289, 0.0), vec2(-0.369, 0.338), vec2(0.056, -0.643), vec2(0.464, 0.607),
                              vec2(-0.853, -0.151), vec2(0.808, -0.514));

// Share of some neighbours in a shadow map that the light reaches: percentage-closer filtering, turned at random.
float lit(sampler2DShadow map, vec3 at, float radius, float bias, int taps) {
    if (taps == 1) return texture(map, vec3(at.xy, at.z - bias));
    float turn = fract(52.9829 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715)))) - 0.5;
    vec2 x = radius * normalize(vec2(0.25 - turn * turn, turn));   // within a right angle either way
    float sum = 0.0;
    for (int i = 0; i < taps; ++i) {
        vec2 offset = SPIRAL[i].x * x + SPIRAL[i].y * vec2(-x.y, x.x);
        sum += texture(map, vec3(at.xy + offset, at.z - bias));
    }
    return sum / float(taps);
}

// Share of the sun that reaches p: the sharp map about the head, else the coarse one of the cabin.
float sunlit(vec3 p, vec3 n, int taps) {
    if (sun.w < 0.5) return 0.0;
    vec3 at = map_position(near_sun_from_car, p + 1.2 * n);
    if (within(at)) return lit(near_sun_map, at, 0.0035, 0.0012, taps);
    at = map_position(far_sun_from_car, p + 12.0 * n);
    return within(at) ? lit(far_sun_map, at, 0.003, 0.002, taps) : 1.0;
}

// GGX with Schlick's Fresnel and Smith's shadowing in Karis' form; times the cosine.
float specular(vec3 n, vec3 v, vec3 l, float roughness, float f0) {
    vec3 h = normalize(v + l);
    float nh = max(dot(n, h), 0.0), nl = max(dot(n, l), 0.0), nv = max(dot(n, v), 0.05);
    float a = roughness * roughness, a2 = a * a;
    float d = nh * nh * (a2 - 1.0) + 1.0;
    float k = (roughness + 1.0) * (roughness + 1.0) / 8.0;
    float visibility = 1.0 / (4.0 * (nl * (1.0 - k) + k) * (nv * (1.0 - k) + k));
    float fresnel = f0 + (1.0 - f0) * fifth(1.0 - max(dot(v, h), 0.0));
    return a2 / (PI * d * d) * visibility * fresnel * nl * PI;   // irradiance is over pi throughout
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
    return mix(vec3(0.0), min(c, vec3(200.0)), greaterThanEqual(c, vec3(0.0)));   // chooses: comparing NaN is false
}
