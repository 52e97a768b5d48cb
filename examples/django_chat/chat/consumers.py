"""One consumer for each websocket. Both kinds do the same and meet in the same rooms."""

from asgiref.sync import async_to_sync
from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer


class ChatConsumer(AsyncJsonWebsocketConsumer):
    """Everything that a client says goes to all who are in its room."""

    async def connect(self):
        self.group = f"chat.{self.scope['url_route']['kwargs']['room']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive_json(self, content):
        await self.channel_layer.group_send(self.group, {"type": "chat.line", "text": str(content["text"])})

    async def chat_line(self, event):
        await self.send_json({"text": event["text"]})


class SyncChatConsumer(JsonWebsocketConsumer):
    """The same in plain functions, which Channels runs in threads."""

    def connect(self):
        self.group = f"chat.{self.scope['url_route']['kwargs']['room']}"
        async_to_sync(self.channel_layer.group_add)(self.group, self.channel_name)
        self.accept()

    def disconnect(self, code):
        async_to_sync(self.channel_layer.group_discard)(self.group, self.channel_name)

    def receive_json(self, content):
        # A thread without an event loop needs none.
        self.channel_layer.group_send_sync(self.group, {"type": "chat.line", "text": str(content["text"])})

    def chat_line(self, event):
        self.send_json({"text": event["text"]})
