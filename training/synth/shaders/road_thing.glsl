// Vehicles, people, posts, signs: painted, glazed and glowing surfaces. Materials are those of `shapes.Material`.
#include "road_model.glsl"

#ifndef VERTEX

void main() {
    int m = int(v_material + 0.5);
    vec3 albedo = v_colour, glow = vec3(0.0);
    float shine = 0.03;
    vec3 n = normalize(v_normal);
    vec3 to_eye = normalize(u_eye - v_position);
    if (m == 0) shine = 0.05;
    if (m == 1) { albedo = vec3(0.012); shine = 0.10; }
    if (m == 2) { albedo = vec3(0.018); shine = 0.0; }
    if (m == 3) { albedo = vec3(0.55); glow = vec3(1.0, 0.95, 0.86) * (0.25 + 5.0 * u_lamps_on); }
    if (m == 4) { albedo = vec3(0.22, 0.012, 0.01); glow = vec3(1.0, 0.05, 0.03) * (0.05 + 0.7 * u_lamps_on + 1.6 * v_state.w); }
    if (m == 5) { albedo = vec3(0.36); shine = 0.06; }
    if (m == 6) { albedo = mix(vec3(0.45, 0.28, 0.2), vec3(0.12, 0.07, 0.05), v_state.x); shine = 0.0; }
    if (m == 7) { albedo = mix(vec3(0.03, 0.04, 0.08), vec3(0.14, 0.12, 0.1), fract(v_state.x * 7.0)); shine = 0.0; }
    if (m == 8) { albedo = vec3(0.68); shine = 0.0; }
    if (m == 9) { albedo = vec3(0.02); shine = 0.01; }
    if (m == 13) { albedo = v_colour * 0.45; shine = 0.0; }
    if (v_state.w < -0.5) glow = vec3(0.0);     // parked
    float lit = 0.02;
    if (m >= 10 && m <= 12) {
        lit = abs(v_state.z - float(m - 10)) < 0.5 ? 1.0 : 0.02;
        vec3 lamp = m == 10 ? vec3(1.0, 0.06, 0.03) : (m == 11 ? vec3(1.0, 0.55, 0.08) : vec3(0.05, 1.0, 0.45));
        albedo = lamp * 0.1;
        glow = lamp * lit * (1.3 + 1.7 * u_lamps_on);
    }
    if (m == 11 && v_state.z > 2.5) { albedo = vec3(0.3); glow = vec3(1.0, 0.8, 0.55) * 4.0 * u_lamps_on; }  // street lamp
    vec3 light = irradiance(v_position, n, v_road.x, v_road.y);
    // Retroreflecting sheets and plates send headlights back.
    if (m == 8 || (m == 0 && v_state.w < -0.5)) light += u_lamps_on * 0.5 * headlights(v_position + vec3(0.0, 1.2, 0.0));
    float grazing = clamp(1.0 - dot(n, to_eye), 0.0, 1.0);
    float fresnel = shine > 0.02 ? shine + (0.75 - shine) * pow(grazing, 5.0) : 0.0;
    vec3 r = reflect(-to_eye, n);
    vec3 seen = r.y < 0.0 ? sky_rgb(r) : 0.12 * u_ambient_rgb;
    seen += u_sun_rgb * 3.0 * pow(max(dot(r, u_sun), 0.0), 90.0);
    float low = clamp(0.45 + 0.55 * (EYE_HEIGHT - v_position.y) / 0.6, 0.0, 1.0);  // the ground's own shadow
    vec3 rgb = mix(albedo * light * mix(low, 1.0, u_lamps_on * 0.5), seen, fresnel) + glow;
    out_rgb = vec4(in_air(rgb, v_position), 1.0);
}

#endif
