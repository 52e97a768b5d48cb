"""The page of a room, and a way to tell it something from outside."""

from channels.layers import get_channel_layer
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST


def room(request, room):
    return render(request, "room.html", {"room": room})


@csrf_exempt
@require_POST
def tell(request, room):
    receipt = get_channel_layer().group_send_sync(f"chat.{room}", {"type": "chat.line", "text": request.body.decode()})
    return HttpResponse(f"{receipt.delivered} processes have it, {receipt.full} were full\n")
