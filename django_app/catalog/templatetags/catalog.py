from django import template

from catalog import presentation

register = template.Library()

register.filter("stars", presentation.stars)
register.filter("page_numbers", presentation.page_numbers)
