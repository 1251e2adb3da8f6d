from rest_framework import serializers

from catalog.models import Category, Product, Review


class CategorySerializer(serializers.ModelSerializer):
    products = serializers.IntegerField(source="product_count", help_text="How many products it holds.")

    class Meta:
        model = Category
        fields = ["slug", "name", "description", "products"]


class ProductSerializer(serializers.ModelSerializer):
    category = serializers.SlugRelatedField("slug", read_only=True)
    rating = serializers.FloatField(help_text="Mean of the published reviews; 0 without any.")
    review_count = serializers.IntegerField()
    page = serializers.SerializerMethodField(help_text="Path of the product's page.")

    class Meta:
        model = Product
        fields = ["slug", "sku", "name", "summary", "category", "price", "stock", "rating", "review_count", "page"]

    def get_page(self, product: Product) -> str:
        return product.get_absolute_url()


class ProductDetailSerializer(ProductSerializer):
    class Meta(ProductSerializer.Meta):
        fields = [*ProductSerializer.Meta.fields, "description", "material", "dimensions", "created_at"]


class ReviewSerializer(serializers.ModelSerializer):
    class Meta:
        model = Review
        fields = ["id", "name", "rating", "text", "created_at"]
        read_only_fields = ["id", "created_at"]


class ProductQuerySerializer(serializers.Serializer):
    category = serializers.SlugField(required=False, help_text="Only products of this category.")
    search = serializers.CharField(required=False, max_length=100, help_text='Words, "phrases", or, -without.')
