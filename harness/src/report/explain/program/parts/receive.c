/* Receives so many bytes, or all to the end. */
static void receive(size_t most)
{
	while (most > 0) {
		size_t room = sizeof(received) - received_bytes;
		ssize_t len = recv(receiver, received + received_bytes, {{ROOM}}, 0);

		if (len <= 0)
			return;
		received_bytes += len;
		most -= {{LEN}};{{AFTER}}
	}
}
