from django.contrib import admin

from djangosite.notes.models import Note

admin.site.register(Note)
