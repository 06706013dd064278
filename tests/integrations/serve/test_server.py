import socket

from codequarry.integrations.serve.server import bind


def test_no_answer_waits_for_the_client_to_confirm_its_head():
    with bind("127.0.0.1", 0) as bound:
        bound.listen()
        with socket.create_connection(bound.getsockname()):
            connection, _ = bound.accept()
            with connection:
                assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
