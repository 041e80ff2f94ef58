"""A lens as it is configured: a calibration, or a field of view."""

from pydantic import Field

from dashgaze.device.settings import Settings
from dashgaze.errors import InputError
from dashgaze.geometry import Camera


class LensSettings(Settings):
    """Lens of a camera. Subclasses add how it sits."""

    fov_deg: float = Field(70.0, gt=10, lt=170, description="horizontal field of view, where no matrix is given")
    size_px: tuple[int, int] | None = Field(None, description="width and height that the matrix belongs to")
    matrix: tuple[tuple[float, float, float], ...] | None = Field(None, description="3 x 3 camera matrix, pixels")
    distortion: tuple[float, ...] = Field((), max_length=8, description="k1 k2 p1 p2 k3 k4 k5 k6")

    def camera(self, size_px: tuple[int, int], mirrored: bool = False) -> Camera:
        """Camera for pictures of this size; with `mirrored`, for those that the source has turned back.

        Raises InputError where the parameters are impossible.
        """
        matrix = Camera.from_fov(size_px, self.fov_deg).matrix if self.matrix is None else self.matrix
        matrix_size_px = size_px if self.matrix is None else self.size_px or size_px
        try:
            camera = Camera.from_parameters(matrix_size_px, matrix, self.distortion).scaled(size_px)
        except ValueError as error:
            raise InputError("configuration, lens (matrix, size_px, distortion)", str(error)) from None
        return camera.mirrored() if mirrored else camera
