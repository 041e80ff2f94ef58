// Buildings: walls with rows of windows, shops below, tiled roofs. A phase below 0 is bare concrete.
#include "road_model.glsl"

#ifndef VERTEX

uniform sampler2D u_noise;

float hash(vec2 p) {
    return fract(sin(dot(p, vec2(127.1, 311.7))) * 43758.5453);
}

void main() {
    vec3 n = normalize(v_normal);
    float along = v_local.z + v_local.x, up = -v_local.y;
    float floor_m = 2.9 + 0.5 * v_state.x, cell_m = 2.2 + 1.6 * fract(v_state.x * 13.0);
    vec2 cells = vec2(along / cell_m, (up - 0.4) / floor_m);
    vec2 id = floor(cells), f = fract(cells);
    vec2 w = max(fwidth(vec2(along / cell_m, up / floor_m)), 1e-3);
    float wide = 0.2 + 0.12 * fract(v_state.x * 29.0);
    bool shop = up < floor_m + 0.4 && v_size.y > 9.0;
    vec2 margin = shop ? vec2(0.07, 0.1) : vec2(wide, 0.22);
    vec2 inside = smoothstep(margin - w, margin + w, f) * smoothstep(margin - w, margin + w, 1.0 - f);
    float window = inside.x * inside.y;
    window = mix(window, (1.0 - 2.0 * margin.x) * (1.0 - 2.0 * margin.y), clamp(max(w.x, w.y) * 1.5 - 0.4, 0.0, 1.0));
    window *= step(up, v_size.y - 0.5) * step(0.0, v_state.x) * step(abs(n.y), 0.3);
    vec4 grain = texture(u_noise, vec2(along, up) * 0.11 + v_state.x);
    vec3 albedo = v_colour * (0.55 + 0.3 * grain.r + 0.4 * grain.b + 0.2 * grain.a);
    float course = smoothstep(0.03 + w.y, 0.0, abs(f.y - 0.03)) / (1.0 + 30.0 * w.y);
    albedo *= 1.0 - 0.3 * course;
    float r = hash(id + floor(v_state.x * 97.0));
    if (v_material > 12.5 || n.y < -0.5) {      // roof
        albedo = mix(vec3(0.2, 0.09, 0.06), vec3(0.1, 0.1, 0.11), step(0.5, v_state.x)) * (0.6 + 0.6 * grain.g);
        window = 0.0;
    }
    vec3 light = irradiance(v_position, n, v_road.x, v_road.y);
    light *= mix(1.0, clamp(0.55 + 0.15 * up, 0.0, 1.0), step(0.0, v_state.x));   // less sky near the ground
    vec3 to_eye = normalize(u_eye - v_position);
    vec3 seen = reflect(-to_eye, n);
    vec3 pane = 0.25 * sky_rgb(vec3(seen.x, -abs(seen.y) - 0.1, seen.z)) * (0.4 + 0.9 * r) + albedo * light * 0.06;
    pane = mix(pane, vec3(0.5, 0.47, 0.42) * light, 0.5 * step(0.72, r));               // curtains
    pane += u_lamps_on * step(0.68, fract(r * 17.0)) * vec3(0.42, 0.27, 0.12) * (0.4 + r);
    if (shop) pane += u_lamps_on * step(0.5, r) * vec3(0.35, 0.3, 0.24);  // shops
    vec3 rgb = mix(albedo * light, pane, window);
    out_rgb = vec4(in_air(rgb, v_position), 1.0);
}

#endif
