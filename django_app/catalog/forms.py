from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.core.validators import FileExtensionValidator

from catalog.models import Photo, Review
from catalog.selectors import DEFAULT_SORT, SORTS
from core.forms import PageForm, PageModelForm

PHOTO_FORMATS = {"JPEG", "PNG", "WEBP"}
PHOTO_BYTES = 8 * 1024 * 1024
PHOTO_PIXELS = 40_000_000


class ListForm(forms.Form):
    sort = forms.ChoiceField(choices=[(key, label) for key, (label, _) in SORTS.items()], required=False)

    def clean_sort(self) -> str:
        return self.cleaned_data["sort"] or DEFAULT_SORT


class SearchForm(forms.Form):
    q = forms.CharField(max_length=100, required=False)


class ReviewForm(PageModelForm):
    rating = forms.TypedChoiceField(
        label="Your rating",
        coerce=int,
        choices=[(5, "5 – excellent"), (4, "4 – good"), (3, "3 – fair"), (2, "2 – poor"), (1, "1 – bad")],
        widget=forms.RadioSelect,
    )

    class Meta:
        model = Review
        fields = ["rating", "name", "text"]
        widgets = {
            "name": forms.TextInput(attrs={"autocomplete": "nickname"}),
            "text": forms.Textarea(attrs={"rows": 6}),
        }


class PhotoForm(PageForm):
    image = forms.ImageField(
        label="Photo",
        help_text="JPEG, PNG or WebP, up to 8 MB. Place and camera data are removed.",
        validators=[FileExtensionValidator(["jpg", "jpeg", "png", "webp"])],
        widget=forms.FileInput(attrs={"accept": "image/jpeg,image/png,image/webp"}),
    )
    caption = forms.CharField(max_length=120, help_text=Photo._meta.get_field("caption").help_text)

    def clean_image(self) -> UploadedFile:
        upload: Any = self.cleaned_data["image"]
        if upload.size > PHOTO_BYTES:
            raise forms.ValidationError("This file is larger than 8 MB.")
        if upload.image.format not in PHOTO_FORMATS:
            raise forms.ValidationError("This is not a JPEG, PNG or WebP picture.")
        if upload.image.width * upload.image.height > PHOTO_PIXELS:
            raise forms.ValidationError("This picture has more than 40 megapixels.")
        return upload
