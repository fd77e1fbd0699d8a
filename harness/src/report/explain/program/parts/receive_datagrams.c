/* Receives datagrams of so many bytes, or all until shutdown(2) ends it. */
static void receive(size_t most)
{
	while (most > 0 && arrived < sizeof(arrived_end) / sizeof(arrived_end[0])) {
		size_t room = sizeof(received) - received_bytes;
		ssize_t len = recv(receiver, received + received_bytes, room, 0);

		if (len <= 0)
			return;
		received_bytes += len;
		arrived_end[arrived++] = received_bytes;
		most -= (size_t)len < most ? (size_t)len : most;
	}
}
