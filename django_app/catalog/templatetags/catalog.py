from django import template

from catalog import presentation

register = template.Library()

for _name in presentation.__all__:
    register.filter(_name, getattr(presentation, _name))
