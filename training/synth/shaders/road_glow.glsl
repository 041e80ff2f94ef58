// Flat quads anywhere: shadows, glows, reflections on a wet road, drops on the windscreen.
#include "road_common.glsl"

#ifdef VERTEX

in vec3 in_position;
in vec3 in_shape;             // -1..1, -1..1, shape
in vec4 in_rgba;              // premultiplied: opacity 0 adds light, colour 0 takes it away
out vec3 v_shape;
out vec4 v_rgba;

void main() {
    v_shape = in_shape;
    v_rgba = in_rgba;
    gl_Position = u_clip_car * vec4(in_position, 1.0);
}

#else

in vec3 v_shape;
in vec4 v_rgba;
out vec4 out_rgb;

void main() {
    vec2 p = v_shape.xy;
    float r2 = dot(p, p);
    float soft = max(1.0 - r2, 0.0);
    if (v_shape.z < 0.5) {                     // glow: a core and a wide, faint halo
        out_rgb = v_rgba * (soft * soft * 0.12 + exp(-40.0 * r2));
    } else if (v_shape.z < 1.5) {              // shadow: an even rectangle with soft edges
        vec2 edge = smoothstep(1.0, 0.55, abs(p));
        out_rgb = v_rgba * edge.x * edge.y;
    } else {                                   // drop: the world upside down in it, sky below
        float rim = smoothstep(1.0, 0.7, r2);
        vec3 seen = mix(u_horizon_rgb * 0.9, 0.15 * u_ambient_rgb, smoothstep(-0.5, 0.6, -p.y));
        out_rgb = vec4(seen, 1.0) * rim * v_rgba.a;
    }
}

#endif
