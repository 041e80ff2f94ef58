// The world behind everything: the panorama, where no mesh covers it.
#include "frame.glsl"

#ifdef VERTEX
in vec2 corner;
uniform mat4 car_from_clip;
out vec3 direction;
void main() {
    vec4 far = car_from_clip * vec4(corner, 0.5, 1.0);
    direction = far.xyz / far.w - camera.xyz;
    gl_Position = vec4(corner, 0.999999, 1.0);
}
#else
#include "ambient.glsl"
#include "light.glsl"
in vec3 direction;
layout(location = 0) out vec4 colour;
layout(location = 1) out uint part;
void main() {
    colour = vec4(finished(outside(normalize(direction), 0.0)), 1.0);
    part = 0u;
}
#endif
