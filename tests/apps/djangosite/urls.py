"""Where the views are found."""

from django.contrib import admin
from django.urls import path

from djangosite.notes import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("hello/", views.hello),
    path("notes/", views.notes, name="notes"),
    path("notes.json", views.notes_json),
    path("async-notes/", views.async_notes),
    path("upload/", views.upload),
    path("stream/", views.stream),
    path("async-stream/", views.async_stream),
    path("bridge/", views.bridge),
    path("visits/", views.visits),
    path("wait/", views.wait),
    path("crash/", views.crash),
]
