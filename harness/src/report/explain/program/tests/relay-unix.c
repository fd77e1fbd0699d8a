/*
 * The race behind a proxy that has received the data from a socket of AF_UNIX.
 *
 * The same as relay.scn. The page comes out of the one socket as it was put in, and over
 * loopback it reaches a receiver that the sender knows nothing of. With the patch it is
 * copied at the begin: AF_UNIX cannot tell when it is done with a page.
 *
 * Compile and run, as root:
 *
 *     gcc -Wall -Wextra -O2 FILE.c && ./a.out; echo $?
 *
 * It needs the programs ip(8).
 * It prints what is torn, and exits 1 if something is, 0 if nothing is, and 2 if it
 * could not be run. What it makes is gone when it ends.
 *
 * As a scenario of inflight:
 *
 *     socket unix
 *     reader paused relay
 *     expect stock violates stable-on-return
 *     expect patched holds
 *
 *     sendfile 0+4096
 *     read 1
 *     mmap-write 0+4096
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#define FILE_BYTES 4096
#define MOST_BYTES 12288	/* that arrive */

static int sender, receiver;	/* sockets */
static int file;
static unsigned char *mapping;	/* of the file */
static unsigned char expected[MOST_BYTES];	/* of the stream */
static long offset_of[MOST_BYTES];	/* in the file, of a byte of the stream */
static size_t sent_bytes;
static unsigned char received[MOST_BYTES];
static size_t received_bytes;

static long must(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "cannot run: %s: %s\n", what, strerror(errno));
		exit(2);
	}
	return result;
}

static void run(const char *command)
{
	if (system(command) != 0) {
		fprintf(stderr, "cannot run: %s\n", command);
		exit(2);
	}
}

static void set(int socket, int level, int option, int value)
{
	must(setsockopt(socket, level, option, &value, sizeof(value)), "setsockopt");
}

/*
 * What stands at an offset of the file: another byte after each write to it, so that a
 * byte says which write it is from. The file as it is made is write 0.
 */
static unsigned char pattern(long offset, int write)
{
	return offset * 31 + offset / 256 * 17 + write;
}

/* Writes to the file through a mapping. */
static void store(unsigned char *map, long offset, long len, int write)
{
	for (long at = offset; at < offset + len; at++)
		map[at] = pattern(at, write);
}

/*
 * A call has returned, and says that it has sent `len` bytes of the file. What the file
 * has there now is what must arrive.
 */
static void sent(long offset, ssize_t len)
{
	must(len, "the send");
	must(pread(file, expected + sent_bytes, len, offset), "pread");
	for (ssize_t i = 0; i < len; i++)
		offset_of[sent_bytes + i] = offset + i;
	sent_bytes += len;
}

/* Receives so many bytes, or all to the end. */
static void receive(size_t most)
{
	while (most > 0) {
		size_t room = sizeof(received) - received_bytes;
		ssize_t len = recv(receiver, received + received_bytes, most < room ? most : room, 0);

		if (len <= 0)
			return;
		received_bytes += len;
		most -= len;
	}
}

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
	close(listener);
}

/* Whether a byte of the stream is none of those that were sent. */
static int is_torn(size_t at)
{
	return received[at] != expected[at];
}

/* Compares what has arrived with what was sent. */
static int verdict(void)
{
	size_t compared = received_bytes < sent_bytes ? received_bytes : sent_bytes;
	size_t torn = 0;

	for (size_t at = 0, end; at < compared; at = end) {
		for (end = at + 1; end < compared && is_torn(end) == is_torn(at);)
			end++;
		if (!is_torn(at))
			continue;
		torn += end - at;
		printf("%zu bytes torn, from byte %zu of the stream on (offset %ld of the file): "
		       "write %d, and write %d was sent\n",
		       end - at, at, offset_of[at],
		       (unsigned char)(received[at] - pattern(offset_of[at], 0)),
		       (unsigned char)(expected[at] - pattern(offset_of[at], 0)));
	}
	if (received_bytes != sent_bytes) {
		printf("%zu bytes were sent, and %zu have arrived\n", sent_bytes, received_bytes);
		return 1;
	}
	printf("%zu of %zu bytes torn\n", torn, received_bytes);
	return torn > 0;
}

static void make_file(void)
{
	file = must(open("/dev/shm", O_TMPFILE | O_RDWR, 0600), "a file in /dev/shm");
	must(ftruncate(file, FILE_BYTES), "ftruncate");
	mapping = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (mapping == MAP_FAILED)
		must(-1, "mmap");
	store(mapping, 0, FILE_BYTES, 0);
}

static void connect_ends(void)
{
	int ends[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "socketpair");
	sender = ends[0];
	receiver = ends[1];
	add_relay();
}

int main(void)
{
	pthread_t relaying;

	alarm(82);
	make_file();
	connect_ends();
	pthread_create(&relaying, NULL, relay, NULL);

	/* sendfile 0+4096 */
	sent(0, sendfile(sender, file, (off_t[]){ 0 }, 4096));

	/* read 1 */
	receive(1);

	/* mmap-write 0+4096 */
	store(mapping, 0, 4096, 1);

	shutdown(sender, SHUT_WR);
	receive(sizeof(received));
	pthread_join(relaying, NULL);
	return verdict();
}
