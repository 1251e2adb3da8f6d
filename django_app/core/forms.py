from django import forms
from django.forms.renderers import TemplatesSetting


class FormRenderer(TemplatesSetting):
    """Fields come out of our own template, with label, help and error tied to the input."""

    field_template_name = "partials/field.html"


class PageForm(forms.Form):
    required_css_class = "required"
    default_renderer = FormRenderer


class PageModelForm(forms.ModelForm):
    required_css_class = "required"
    default_renderer = FormRenderer
