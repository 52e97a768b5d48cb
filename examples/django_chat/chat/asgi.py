"""What a server runs: pages by Django, websockets by their consumer."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from channels_asgi_redis import CloseLayers
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chat.settings")
pages = get_asgi_application()

from .consumers import ChatConsumer, SyncChatConsumer  # noqa: E402  (after Django is set up)

websockets = URLRouter(
    [
        path("ws/<slug:room>/", ChatConsumer.as_asgi()),
        path("ws/sync/<slug:room>/", SyncChatConsumer.as_asgi()),
    ]
)
application = CloseLayers(ProtocolTypeRouter({"http": pages, "websocket": websockets}))
