// One face of the cube that says where the windows are: opaque meshes leave their albedo and alpha 0.
#ifdef VERTEX
in vec3 position;
in vec3 tint;
uniform mat4 clip_from_car;
out vec3 albedo;
void main() {
    albedo = tint;
    gl_Position = clip_from_car * vec4(position, 1.0);
}
#else
in vec3 albedo;
uniform vec3 surface;
out vec4 colour;
void main() { colour = vec4(albedo * surface, 0.0); }
#endif
