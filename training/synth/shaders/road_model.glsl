// The vertex half of whatever has a model: unit models are stretched, turned and set down.
#include "road_common.glsl"

#ifdef VERTEX

in vec3 in_position;
in vec3 in_normal;
in vec2 in_kind;              // material, limb
in vec3 i_base;               // middle of the underside, car frame
in float i_turn;
in vec3 i_size;
in vec3 i_colour;
in vec4 i_state;              // phase, stride (radians), lamp state, brake
in vec2 i_road;               // s, u
out vec3 v_position;
out vec3 v_normal;
out vec3 v_local;
flat out vec3 v_colour;
flat out vec4 v_state;
flat out float v_material;
flat out vec2 v_road;
flat out vec3 v_size;

void main() {
    vec3 local = in_position;
    vec3 p = local * i_size;
    if (in_kind.y != 0.0) {   // limbs swing about hip or shoulder
        float top = in_kind.y * sin(i_state.y) > 0.0 ? 1.0 : -1.0;
        float low = clamp(1.0 + local.y / 0.55, 0.0, 1.0);
        p.z += top * abs(sin(i_state.y)) * 0.32 * low * low * i_size.y * 0.55;
    }
    float c = cos(i_turn), s = sin(i_turn);
    vec3 n = normalize(in_normal / i_size);
    v_position = vec3(c * p.x + s * p.z, p.y, c * p.z - s * p.x) + i_base;
    v_normal = vec3(c * n.x + s * n.z, n.y, c * n.z - s * n.x);
    v_local = p;
    v_colour = i_colour;
    v_state = i_state;
    v_material = in_kind.x;
    v_road = i_road;
    v_size = i_size;
    gl_Position = u_clip_car * vec4(v_position, 1.0);
}

#else

in vec3 v_position;
in vec3 v_normal;
in vec3 v_local;
flat in vec3 v_colour;
flat in vec4 v_state;
flat in float v_material;
flat in vec2 v_road;
flat in vec3 v_size;
out vec4 out_rgb;

#endif
