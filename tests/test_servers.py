"""The tests' own servers start, stop and come back: what the proofs stand on."""

from __future__ import annotations

from tests.servers import Listener, Mosquitto, Nats, Proxy, wait_for


def test_mosquitto_restarts_on_its_port_and_keeps_what_was_retained(mosquitto: Mosquitto) -> None:
    first = Listener(mosquitto.port)
    first._client.publish("a/b", b"kept", qos=1, retain=True).wait_for_publish(10)
    first.close()
    mosquitto.restart()
    second = Listener(mosquitto.port)
    assert wait_for(lambda: second.messages)[0][:3] == ("a/b", b"kept", True)
    second.close()


def test_nats_server_carries_a_message_from_one_client_to_another(nats: Nats) -> None:
    listener = Listener(nats.port, mqtt5=False)
    listener._client.publish("a/b", b"hello", qos=1).wait_for_publish(10)
    assert wait_for(lambda: listener.messages)[0].payload == b"hello"
    listener.close()


def test_the_proxy_forwards_until_it_is_told_to_cut(mosquitto: Mosquitto) -> None:
    proxy = Proxy(mosquitto.port)
    listener = Listener(proxy.port)
    listener._client.publish("a", b"1", qos=1).wait_for_publish(10)
    wait_for(lambda: len(listener.messages) == 1)
    proxy.cut()
    wait_for(lambda: proxy.accepted == 2, what="the listener comes back by itself")
    listener.wait_ready()
    listener.close()
    proxy.close()
