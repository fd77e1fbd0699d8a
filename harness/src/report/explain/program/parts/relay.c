static int relay_in, relay_out;	/* sockets */

/* A proxy: what it receives goes into a pipe, and from there to a connection of its own. */
static void *relay(void *unused)
{
	int ends[2];
	ssize_t len;
	char mark = 'Z', taken;	/* its own, behind what it has taken */

	must(pipe(ends), "pipe");
	/* Each slot of a pipe keeps something of what was in it before. */
	for (int slot = 0; slot < 16; slot++) {
		must(write(ends[1], &mark, 1), "write");
		must(read(ends[0], &taken, 1), "read");
	}
	while ((len = splice(relay_in, NULL, ends[1], NULL, 1 << 20, 0)) > 0) {
		struct pollfd room = { .fd = ends[1], .events = POLLOUT };
		int is_marked = poll(&room, 1, 0) > 0;

		if (is_marked)
			must(write(ends[1], &mark, 1), "write");
		while (len > 0)
			len -= must(splice(ends[0], NULL, relay_out, NULL, len, 0), "the proxy");
		if (is_marked)
			must(read(ends[0], &taken, 1) == 1 && taken == mark ? 0 : -1, "the mark");
	}
	shutdown(relay_out, SHUT_WR);
	return unused;
}

/* What has been received is read at the far end of the proxy, over a loopback of its own. */
static void add_relay(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(2008),
		.sin_addr.s_addr = inet_addr("127.0.0.1"),
	};
	int listener;

	must(unshare(CLONE_NEWNET), "no network namespace, which takes root");
	run("ip link set lo up");
	listener = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
	must(bind(listener, (struct sockaddr *)&address, sizeof(address)), "bind");
	must(listen(listener, 1), "listen");
	relay_in = receiver;
	relay_out = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
	must(connect(relay_out, (struct sockaddr *)&address, sizeof(address)), "connect");
	set(relay_out, IPPROTO_TCP, TCP_NODELAY, 1);
	receiver = must(accept(listener, NULL, NULL), "accept");
	close(listener);{{BACK}}
}
