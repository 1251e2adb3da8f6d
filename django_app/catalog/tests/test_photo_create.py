from io import BytesIO

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from PIL import Image

from catalog.models import Photo

PATH = "/products/oak-serving-tray/photo/"


def picture(name="tray.png", kind="PNG", size=(400, 300), **options):
    data = BytesIO()
    Image.new("RGB", size, "tan").save(data, kind, **options)
    return SimpleUploadedFile(name, data.getvalue())


@pytest.fixture(autouse=True)
def media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.webp", "WEBP")])
def test_photo_is_kept_and_shown(signed_in, product, name, kind):
    answer = signed_in.post(PATH, {"image": picture(name, kind), "caption": "With coffee"})
    photo = Photo.objects.get()
    assert answer.headers["Location"] == f"/products/oak-serving-tray/#photo-{photo.pk}"
    assert photo.uploaded_by == signed_in.user
    assert (photo.width, photo.height) == (400, 300)
    text = signed_in.get("/products/oak-serving-tray/").text
    assert f'src="/media/{photo.image.name}"' in text
    assert 'alt="With coffee"' in text


def test_photo_is_drawn_anew_without_hidden_data(signed_in, product, tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "Camera of Ada"
    upload = picture("ada-at-home.jpg", "JPEG", exif=exif)
    assert b"Camera of Ada" in upload.read()
    upload.seek(0)
    signed_in.post(PATH, {"image": upload, "caption": "Tray"})
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert b"Camera of Ada" not in file.read_bytes()
    assert "ada-at-home" not in file.name


def test_photo_stands_upright(signed_in, product):
    """Cameras store how they were held in the data that is removed."""
    exif = Image.Exif()
    exif[0x0112] = 6
    signed_in.post(PATH, {"image": picture("a.jpg", "JPEG", exif=exif), "caption": "Tray"})
    photo = Photo.objects.get()
    assert (photo.width, photo.height) == (300, 400)


def test_large_photo_is_made_smaller(signed_in, product):
    signed_in.post(PATH, {"image": picture(size=(3200, 1600)), "caption": "Tray"})
    photo = Photo.objects.get()
    assert (photo.width, photo.height) == (1600, 800)


@pytest.mark.parametrize(
    "upload",
    [
        SimpleUploadedFile("a.png", b"<script>alert(1)</script>"),
        SimpleUploadedFile("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        picture("a.html"),
        picture("a.png", "GIF"),
        SimpleUploadedFile("a.png", b""),
        picture("a.png", size=(8000, 6000)),
    ],
    ids=["script", "svg", "wrong name", "gif", "empty", "too many pixels"],
)
def test_other_files_are_refused(signed_in, product, tmp_path, upload):
    upload.seek(0)
    answer = signed_in.post(PATH, {"image": upload, "caption": "Tray"})
    assert answer.status_code == 200
    assert "errorlist" in answer.text
    assert not list(tmp_path.rglob("*.*"))


def test_upload_needs_a_signed_in_person(client, product):
    answer = client.post(PATH, {"image": picture(), "caption": "Tray"})
    assert answer.headers["Location"].startswith("/account/login/")
    assert not Photo.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_deleted_photo_leaves_no_file(signed_in, product, tmp_path):
    signed_in.post(PATH, {"image": picture(), "caption": "Tray"})
    Photo.objects.get().delete()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_photo_that_cannot_be_saved_leaves_no_file(new_client, make_user, product, tmp_path):
    seen = []

    def fail(execute, sql, *arguments):
        if sql.startswith('INSERT INTO "catalog_photo"'):
            seen.extend(path for path in tmp_path.rglob("*") if path.is_file())
            raise RuntimeError
        return execute(sql, *arguments)

    client = new_client(raise_request_exception=False)
    client.force_login(make_user())
    with connection.execute_wrapper(fail):
        assert client.post(PATH, {"image": picture(), "caption": "Tray"}).status_code == 500
    assert len(seen) == 1
    assert not seen[0].exists()
