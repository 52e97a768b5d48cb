"""The addresses of the pages."""

from django.urls import path

from . import views

urlpatterns = [
    path("<slug:room>/", views.room),
    path("<slug:room>/tell/", views.tell),
]
