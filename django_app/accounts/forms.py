from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm

from accounts.models import User
from core.forms import FormRenderer, PageModelForm
from core.throttle import Throttle, client_address

failed_sign_ins = Throttle("sign-in", limit=10, seconds=300)


class SignInForm(AuthenticationForm):
    default_renderer = FormRenderer

    def clean(self) -> dict[str, Any]:
        who = (client_address(self.request), self.cleaned_data.get("username", ""))
        if failed_sign_ins.is_exceeded(*who):
            raise forms.ValidationError("Too many attempts. Please wait five minutes and try again.", code="throttled")
        try:
            cleaned = super().clean()
        except forms.ValidationError:
            failed_sign_ins.count(*who)
            raise
        failed_sign_ins.reset(*who)
        return cleaned


class ProfileForm(PageModelForm):
    class Meta:
        model = User
        fields = ["first_name", "last_name", "email"]
        widgets = {
            "first_name": forms.TextInput(attrs={"autocomplete": "given-name"}),
            "last_name": forms.TextInput(attrs={"autocomplete": "family-name"}),
            "email": forms.EmailInput(attrs={"autocomplete": "email"}),
        }


class NewPasswordForm(PasswordChangeForm):
    default_renderer = FormRenderer
