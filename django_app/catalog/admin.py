from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from catalog.models import Category, Photo, Product, Review

admin.site.site_header = "Larkfield administration"
admin.site.site_title = "Larkfield"


@admin.register(Category)
class CategoryAdmin(admin.ModelAdmin):
    list_display = ["name", "position", "description"]
    list_editable = ["position"]
    prepopulated_fields = {"slug": ["name"]}


class PhotoInline(admin.TabularInline):
    """To look through and to delete; new ones come through the site, which removes hidden data from them."""

    model = Photo
    extra = 0
    readonly_fields = ["image", "uploaded_by", "created_at"]

    def has_add_permission(self, request: HttpRequest, obj: Product | None = None) -> bool:
        return False


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = ["name", "sku", "category", "price", "stock"]
    list_filter = ["category"]
    list_select_related = ["category"]
    search_fields = ["name", "sku"]
    prepopulated_fields = {"slug": ["name"]}
    inlines = [PhotoInline]
    date_hierarchy = "created_at"


@admin.register(Review)
class ReviewAdmin(admin.ModelAdmin):
    list_display = ["product", "rating", "name", "created_at", "is_published"]
    list_filter = ["is_published", "rating"]
    list_select_related = ["product"]
    autocomplete_fields = ["product"]
    raw_id_fields = ["author"]
    search_fields = ["text", "name", "product__name"]
    actions = ["publish", "hide"]

    @admin.action(description="Publish the selected reviews")
    def publish(self, request: HttpRequest, queryset: QuerySet[Review]) -> None:
        queryset.update(is_published=True)

    @admin.action(description="Hide the selected reviews")
    def hide(self, request: HttpRequest, queryset: QuerySet[Review]) -> None:
        queryset.update(is_published=False)
