import io
import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless, SecondaryCaptureImageStorage, generate_uid

from koalib.data.images import ImageError, decode, read_knee, resize
from tests.data.films import knees, save


@pytest.fixture(scope="module")
def film():
    return knees(1, seed=5)[0]


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def dicom(values, **changes):
    """A minimal film; ``changes`` are set on the data set."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    film = FileDataset("film", {}, file_meta=meta, preamble=b"\0" * 128)
    film.SOPClassUID, film.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    film.Rows, film.Columns = values.shape[-2:]
    film.SamplesPerPixel, film.PhotometricInterpretation, film.PixelRepresentation = 1, "MONOCHROME2", 0
    film.BitsAllocated = 8 * values.dtype.itemsize
    film.BitsStored, film.HighBit = film.BitsAllocated, film.BitsAllocated - 1
    film.PixelData = values.tobytes()
    for keyword, value in changes.items():
        setattr(film, keyword, value)
    return film


def written(film):
    buffer = io.BytesIO()
    film.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP"])
def test_lossless_formats_give_the_same_pixels(film, kind):
    image = read_knee(encoded(Image.fromarray(film), kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert np.array_equal(np.round(image.pixels * 255), film)
    assert image.inverted is False and image.bits == 8


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA"])
def test_colour_models_of_a_grey_film(film, mode):
    image = Image.fromarray(film).convert(mode)
    assert np.abs(read_knee(encoded(image, "PNG")).pixels * 255 - film).max() <= 1


def test_cmyk_jpeg(film):
    image = Image.fromarray(film).convert("RGB").convert("CMYK")
    assert np.abs(read_knee(encoded(image, "JPEG", quality=98)).pixels * 255 - film).mean() < 3


def test_sixteen_bit_is_scaled_not_clipped(film):
    deep = film.astype(np.uint16) * 200
    image = read_knee(encoded(Image.fromarray(deep), "PNG"))
    assert image.bits == 16
    assert np.allclose(image.pixels, deep / 65535, atol=1e-6)
    assert len(np.unique(image.pixels)) == len(np.unique(film))


def test_twelve_bits_in_sixteen_fill_the_range(film):
    image = read_knee(encoded(Image.fromarray(film.astype(np.uint16) * 16), "PNG"))
    assert image.bits == 12 and image.pixels.max() > 0.5


def test_exif_rotation_is_applied(film):
    image = Image.fromarray(film)
    exif = image.getexif()
    exif[0x0112] = 3  # upside down
    turned = image.rotate(180)
    assert np.abs(read_knee(encoded(turned, "JPEG", quality=98, exif=exif)).pixels * 255 - film).mean() < 3


def test_inverted_film_is_turned(film):
    image = read_knee(encoded(Image.fromarray(255 - film), "PNG"))
    assert image.inverted is True
    assert np.allclose(image.pixels * 255, film, atol=0.01)


@pytest.mark.parametrize("name, side", [("9003175L.png", "L"), ("a/knee_R.png", "R"), ("17-left.jpg", "L"), ("FULL.png", None), ("film.png", None)])
def test_side_from_the_name(film, name, side):
    assert read_knee(encoded(Image.fromarray(film), "PNG"), name=name).side == side


def test_dicom_monochrome1_side_and_spacing(film):
    content = written(dicom(255 - film, PhotometricInterpretation="MONOCHROME1", ImageLaterality="R", PixelSpacing=[0.2, 0.3]))
    image = read_knee(content, "film.dcm")
    assert np.allclose(image.pixels * 255, film, atol=0.01)
    assert (image.side, image.spacing_mm, image.inverted) == ("R", (0.2, 0.3), False)


def test_dicom_window_and_rescale(film):
    values = film.astype(np.uint16) * 4
    film_ = dicom(values, BitsStored=12, HighBit=11, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=800, WindowWidth=1001)
    expected = np.clip((values * 2.0 - 100 - 799.5) / 1000 + 0.5, 0, 1)
    assert np.allclose(read_knee(written(film_), "film.dcm").pixels, expected, atol=2e-3)


def test_dicom_compressed(film):
    film_ = dicom(film)
    film_.compress(JPEG2000Lossless)
    assert np.array_equal(np.round(read_knee(written(film_), "film.dcm").pixels * 255), film)


def test_dicom_detector_spacing_is_remarked(film):
    image = read_knee(written(dicom(film, ImagerPixelSpacing=[0.15, 0.15])), "film.dcm")
    assert image.spacing_mm == (0.15, 0.15) and "magnified" in image.remarks[0]


def with_spacing(film, value):
    """The film's bytes with this text for its pixel spacing, whatever it is: a file holds what its maker wrote, pydicom would refuse it."""
    film.add_new("PixelSpacing", "LO", value)
    content = written(film)
    assert content.count(b"\x28\0\x30\0LO") == 1
    return content.replace(b"\x28\0\x30\0LO", b"\x28\0\x30\0DS")


@pytest.mark.parametrize("value", ["0,6\\0,6", "0.5", "12", "0.5\\0.5\\0.5", "0.5\\inf", "0.5\\nan", "0\\0.5", "-0.5\\0.5", "wide\\high", ""])
def test_anything_but_two_finite_positive_numbers_is_no_spacing(film, value):
    assert read_knee(with_spacing(dicom(film), value), "film.dcm").spacing_mm is None
    image = read_knee(with_spacing(dicom(film, ImagerPixelSpacing=[0.15, 0.15]), value), "film.dcm")
    assert image.spacing_mm == (0.15, 0.15) and "magnified" in image.remarks[0]
    wrong_kind = dicom(film)
    wrong_kind.add_new("PixelSpacing", "LO", value)
    assert read_knee(written(wrong_kind), "film.dcm").spacing_mm is None


@pytest.mark.parametrize("entry", [256, 257])
def test_a_tiff_whose_next_header_is_damaged_is_one_films_error(film, entry):
    content = bytearray(encoded(Image.fromarray(film), "TIFF", save_all=True, append_images=[Image.fromarray(film)]))
    last = content.rindex(struct.pack("<HH", entry, 4))  # width or height in the second frame's header
    content[last : last + 2] = struct.pack("<H", 60_000)
    with pytest.raises(ImageError, match="damaged") as caught:
        read_knee(bytes(content), "film.tif")
    assert str(caught.value).startswith("film.tif") and "\n" not in str(caught.value)


def test_signed_tiff_keeps_its_order():
    ramp = np.linspace(-1000, 3095, 64 * 64).round().astype(np.int32).reshape(64, 64)
    image = read_knee(encoded(Image.fromarray(ramp), "TIFF"), "film.tif")
    assert np.allclose(image.pixels.ravel(), np.linspace(0, 1, 64 * 64), atol=1e-3)


def test_several_frames_are_refused(film):
    with pytest.raises(ImageError, match="2 frames"):
        read_knee(written(dicom(np.stack([film, film]), NumberOfFrames=2)), "film.dcm")
    with pytest.raises(ImageError, match="2 frames"):
        read_knee(encoded(Image.fromarray(film), "TIFF", save_all=True, append_images=[Image.fromarray(film)]), "film.tif")


@pytest.mark.parametrize("content, message", [
    (b"", "empty"),
    (b"not a film", "not an image"),
    (b"\0" * 128 + b"DICM" + b"rubbish", "DICOM"),
])
def test_bad_files(content, message):
    with pytest.raises(ImageError, match=message) as caught:
        read_knee(content, "film.png")
    assert str(caught.value).startswith("film.png") and "\n" not in str(caught.value)


def test_truncated_blank_small_missing(film, tmp_path):
    with pytest.raises(ImageError, match="damaged"):
        read_knee(encoded(Image.fromarray(film), "PNG")[:3000], "film.png")
    with pytest.raises(ImageError, match="all pixels are equal"):
        read_knee(encoded(Image.new("L", (100, 100), 7), "PNG"), "film.png")
    with pytest.raises(ImageError, match="too few"):
        read_knee(encoded(Image.fromarray(film[:20, :20]), "PNG"), "film.png")
    with pytest.raises(ImageError, match="check the path"):
        read_knee(tmp_path / "nowhere.png")


def test_over_100_megapixels_is_refused_before_it_is_unpacked():
    with pytest.raises(ImageError, match="100 megapixels"):
        read_knee(encoded(Image.new("1", (11_000, 9_500)), "PNG"), "film.png")
    header = written(dicom(np.zeros((40, 40), np.uint8) + np.arange(40, dtype=np.uint8), Rows=20_000, Columns=20_000))
    with pytest.raises(ImageError, match="100 megapixels"):
        read_knee(header, "film.dcm")


def peak_mb(content, message):
    """Memory in MB that the refusal of ``content`` takes, beyond the content itself."""
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=message) as caught:
            read_knee(content, "film.dcm")
        assert "\n" not in str(caught.value)
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def test_a_deflated_film_is_measured_before_it_is_unpacked(film):
    small = dicom(film)
    small.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    assert np.array_equal(np.round(read_knee(written(small), "film.dcm").pixels * 255), film)
    small.PixelData = bytes(201 * 2**20)
    bomb = written(small)
    assert len(bomb) < 2**20
    assert peak_mb(bomb, "unpacks to more than 200 MB") < 64


def test_pixels_must_be_those_of_one_film_of_the_headers_size(film):
    assert peak_mb(written(dicom(film, PixelData=film.tobytes() * 40)), "more than one film of 224 x 224") < 16
    large = dicom(np.zeros((4096, 4096), np.uint8))
    large.compress(JPEG2000Lossless)
    large.Rows, large.Columns = film.shape
    assert peak_mb(written(large), "pixels are 4096 x 4096, its header says 224 x 224") < 8


def test_over_200_mb_is_refused(tmp_path):
    path = tmp_path / "film.png"
    with open(path, "wb") as file:
        file.truncate(200 * 2**20 + 1)
    with pytest.raises(ImageError, match="200 MB"):
        read_knee(path)


def test_resize_keeps_the_shape_of_the_knee():
    wide = np.zeros((100, 300), np.float32)
    wide[40:60, 140:160] = 1  # a square in the middle
    small = resize(wide, 75) > 127
    rows, columns = small.any(1).sum(), small.any(0).sum()
    assert abs(rows - columns) <= 1 and rows in (10, 11) and small.shape == (75, 75)


def test_resize_of_a_square_at_its_size_changes_nothing(film):
    assert np.array_equal(resize(film / np.float32(255), 224), film)


def test_pixels_of_a_palette_are_not_its_indices(film):
    image = Image.fromarray(film).convert("P")
    image.putpalette([255 - index // 3 for index in range(768)])  # index and grey run against each other
    values = decode(encoded(image, "PNG"), "film.png").values
    assert np.array_equal(values, 255 - film)


def test_a_read_file_is_a_read_path(film, tmp_path):
    path = save(film, tmp_path / "film.png")
    with open(path, "rb") as file:
        assert np.array_equal(read_knee(file).pixels, read_knee(path).pixels)
