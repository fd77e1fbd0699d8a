/*
 * Three socket pairs of AF_UNIX, one file.
 *
 * As own-connections.scn, over AF_UNIX: three socket pairs, one file, and each page is
 * written to after the return of the call that has sent it, while it lies in the queue of
 * its receiver.
 *
 * Compile and run:
 *
 *     gcc -Wall -Wextra -O2 FILE.c && ./a.out; echo $?
 *
 * It prints what is torn, and exits 1 if something is, 0 if nothing is, and 2 if it
 * could not be run. What it makes is gone when it ends.
 *
 * As a scenario of inflight:
 *
 *     socket unix each
 *     file tmpfs size=16384
 *     reader paused
 *     expect stock violates stable-on-return
 *     expect patched holds copied
 *
 *     sendfile 0+4096
 *     b: sendfile 4096+4096
 *     c: sendfile 8192+4096
 *     c: mmap-write 8192+4096
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FILE_BYTES 16384
#define MOST_BYTES 32768	/* that arrive */

static int file;
static unsigned char *mapping;	/* of the file */

/* The connection of a sender, and what was sent and received by it. */
struct connection {
	int sender, receiver;	/* sockets */
	unsigned char expected[MOST_BYTES];	/* of the stream */
	unsigned char earlier[MOST_BYTES];	/* the same when the call began */
	long offset_of[MOST_BYTES];	/* in the file, of a byte of the stream */
	size_t sent_bytes;
	unsigned char received[MOST_BYTES];
	size_t received_bytes;
};

static struct connection of_a, of_b, of_c;
static _Thread_local struct connection *own;	/* that of the thread */

static long must(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "cannot run: %s: %s\n", what, strerror(errno));
		exit(2);
	}
	return result;
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

/* Who does the steps of the scenario: how many are done, and since when there is another. */
struct actor {
	atomic_int done;
	atomic_long since_us;
};

static struct actor a, b, c;

static long now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void begin(struct actor *who)
{
	who->since_us = now_us();
}

static void end(struct actor *who, int step)
{
	who->done = step;
	who->since_us = 0;
}

/* Whether an actor has been in one step for so long. */
static int hangs(struct actor *who, long us)
{
	long since_us = who->since_us;

	return since_us && now_us() - since_us > us;
}

/* Waits until an actor has done a step, or hangs: in it, or in one before it. */
static void after(struct actor *who, int step)
{
	while (who->done < step && !hangs(who, 2000))
		usleep(100);
}

/*
 * A call is to be made. Others write while it runs, so what the file has now may arrive
 * as well as what it has when the call returns.
 */
static void entering(long offset, long len)
{
	must(pread(file, own->earlier + own->sent_bytes, len, offset), "pread");
}

/*
 * A call has returned, and says that it has sent `len` bytes of the file. What the file
 * has there now is what must arrive.
 */
static void sent(long offset, ssize_t len)
{
	must(len, "the send");
	must(pread(file, own->expected + own->sent_bytes, len, offset), "pread");
	for (ssize_t i = 0; i < len; i++)
		own->offset_of[own->sent_bytes + i] = offset + i;
	own->sent_bytes += len;
}

/* Receives so many bytes, or all to the end. */
static void receive(size_t most)
{
	while (most > 0) {
		size_t room = sizeof(own->received) - own->received_bytes;
		ssize_t len = recv(own->receiver, own->received + own->received_bytes, most < room ? most : room, 0);

		if (len <= 0)
			return;
		own->received_bytes += len;
		most -= len;
	}
}

/* Whether a byte of the stream is none of those that were sent. */
static int is_torn(size_t at)
{
	return own->received[at] != own->expected[at] && own->received[at] != own->earlier[at];
}

/* Compares what has arrived with what was sent. */
static int verdict(void)
{
	size_t compared = own->received_bytes < own->sent_bytes ? own->received_bytes : own->sent_bytes;
	size_t torn = 0;

	for (size_t at = 0, end; at < compared; at = end) {
		for (end = at + 1; end < compared && is_torn(end) == is_torn(at);)
			end++;
		if (!is_torn(at))
			continue;
		torn += end - at;
		printf("%zu bytes torn, from byte %zu of the stream on (offset %ld of the file): "
		       "write %d, and write %d was sent\n",
		       end - at, at, own->offset_of[at],
		       (unsigned char)(own->received[at] - pattern(own->offset_of[at], 0)),
		       (unsigned char)(own->expected[at] - pattern(own->offset_of[at], 0)));
	}
	if (own->received_bytes != own->sent_bytes) {
		printf("%zu bytes were sent, and %zu have arrived\n", own->sent_bytes, own->received_bytes);
		return 1;
	}
	printf("%zu of %zu bytes torn\n", torn, own->received_bytes);
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
	own->sender = ends[0];
	own->receiver = ends[1];
}

static void *b_does(void *unused)
{
	own = &of_b;

	/* b: sendfile 4096+4096 */
	after(&a, 1);
	begin(&b);
	entering(4096, 4096);
	sent(4096, sendfile(own->sender, file, (off_t[]){ 4096 }, 4096));
	end(&b, 2);
	return unused;
}

static void *c_does(void *unused)
{
	own = &of_c;

	/* c: sendfile 8192+4096 */
	after(&a, 1);
	after(&b, 2);
	begin(&c);
	entering(8192, 4096);
	sent(8192, sendfile(own->sender, file, (off_t[]){ 8192 }, 4096));
	end(&c, 3);

	/* c: mmap-write 8192+4096 */
	begin(&c);
	store(mapping, 8192, 4096, 1);
	end(&c, 4);
	return unused;
}

/* What is left of the connection of a, when all is done. */
static void *a_rest(void *unused)
{
	own = &of_a;
	after(&a, 1);
	after(&b, 2);
	after(&c, 4);
	receive(sizeof(own->received));
	return unused;
}

/* What is left of the connection of b, when all is done. */
static void *b_rest(void *unused)
{
	own = &of_b;
	after(&a, 1);
	after(&b, 2);
	after(&c, 4);
	receive(sizeof(own->received));
	return unused;
}

/* What is left of the connection of c, when all is done. */
static void *c_rest(void *unused)
{
	own = &of_c;
	after(&a, 1);
	after(&b, 2);
	after(&c, 4);
	receive(sizeof(own->received));
	return unused;
}

int main(void)
{
	pthread_t b_thread, c_thread, a_reading, b_reading, c_reading;
	int wrong = 0;

	alarm(30);
	make_file();
	own = &of_c;
	connect_ends();
	own = &of_b;
	connect_ends();
	own = &of_a;
	connect_ends();
	pthread_create(&b_thread, NULL, b_does, NULL);
	pthread_create(&c_thread, NULL, c_does, NULL);
	pthread_create(&a_reading, NULL, a_rest, NULL);
	pthread_create(&b_reading, NULL, b_rest, NULL);
	pthread_create(&c_reading, NULL, c_rest, NULL);

	/* sendfile 0+4096 */
	begin(&a);
	entering(0, 4096);
	sent(0, sendfile(own->sender, file, (off_t[]){ 0 }, 4096));
	end(&a, 1);

	pthread_join(b_thread, NULL);
	pthread_join(c_thread, NULL);
	own = &of_a;
	shutdown(own->sender, SHUT_WR);
	own = &of_b;
	shutdown(own->sender, SHUT_WR);
	own = &of_c;
	shutdown(own->sender, SHUT_WR);
	pthread_join(a_reading, NULL);
	pthread_join(b_reading, NULL);
	pthread_join(c_reading, NULL);
	own = &of_a;
	printf("a: ");
	wrong |= verdict();
	own = &of_b;
	printf("b: ");
	wrong |= verdict();
	own = &of_c;
	printf("c: ");
	wrong |= verdict();
	return wrong;
}
