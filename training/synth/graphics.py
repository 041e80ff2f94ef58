"""OpenGL without a screen."""

from typing import Any

import moderngl

from dashgaze.errors import DashgazeError


def create_context() -> moderngl.Context:
    """Make a context through EGL, on the processor where there is no graphics card; else raises DashgazeError."""
    settings: dict[str, Any] = {"standalone": True, "backend": "egl"}
    try:
        context = moderngl.create_context(**settings)
    except Exception as error:  # moderngl raises plain Exception, ctypes OSError
        raise DashgazeError(
            "OpenGL",
            f"no context could be made through EGL ({error})",
            "install the Debian packages libegl1 libegl-mesa0 libgl1-mesa-dri",
        ) from error
    if context.version_code < 430:
        raise DashgazeError(
            "OpenGL",
            f"the driver offers version {context.version_code / 100}, 4.3 is needed",
            "install the Debian package libgl1-mesa-dri",
        )
    return context
