// Trees are upright cards that turn to the camera.
#include "road_common.glsl"

#ifdef VERTEX

in vec2 in_corner;            // -0.5..0.5, 0..1 upwards
in vec3 i_base;
in vec2 i_size;               // width, height
in vec3 i_colour;
in vec2 i_card;               // column of the atlas, 1 mirrored
in vec2 i_road;
out vec2 v_card;
out vec3 v_position;
flat out vec3 v_colour;
flat out vec2 v_road;

void main() {
    vec2 away = normalize(i_base.xz - u_eye.xz);
    vec3 right = vec3(away.y, 0.0, -away.x);
    v_position = i_base + right * in_corner.x * i_size.x - vec3(0.0, in_corner.y * i_size.y, 0.0);
    float x = i_card.y > 0.5 ? -in_corner.x : in_corner.x;
    v_card = vec2((i_card.x + clamp(x + 0.5, 0.004, 0.996)) / CARDS, 1.0 - in_corner.y);
    v_colour = i_colour;
    v_road = i_road;
    gl_Position = u_clip_car * vec4(v_position, 1.0);
}

#else

uniform sampler2D u_cards;    // premultiplied albedo and opacity
in vec2 v_card;
in vec3 v_position;
flat in vec3 v_colour;
flat in vec2 v_road;
out vec4 out_rgb;

void main() {
    vec4 card = texture(u_cards, v_card);
    if (card.a < 0.02) discard;
    vec3 light = 0.8 * u_ambient_rgb + 0.55 * u_sun_rgb
        + u_lamps_on * (vec3(1.0, 0.93, 0.82) * 0.5 * headlights(v_position) + vec3(1.0, 0.72, 0.42) * 0.6 * street_lamps(v_road.x, v_road.y));
    vec3 rgb = 0.25 * card.rgb / card.a * v_colour * light;
    out_rgb = vec4(in_air(rgb, v_position) * card.a, card.a);
}

#endif
