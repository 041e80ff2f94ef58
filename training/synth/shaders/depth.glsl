// Depth alone, for shadow maps.
#ifdef VERTEX
in vec3 position;
uniform mat4 clip_from_model;
void main() { gl_Position = clip_from_model * vec4(position, 1.0); }
#else
void main() {}
#endif
