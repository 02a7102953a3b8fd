"""Who outside is told of events: webhooks and an MQTT broker."""

from slimcloud.notify.deliver import Notifier, Receiver
from slimcloud.notify.mqtt import MqttBroker
from slimcloud.notify.webhook import Webhook

__all__ = ["MqttBroker", "Notifier", "Receiver", "Webhook"]
