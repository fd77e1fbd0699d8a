/*
 * Two threads send on one socket: the second call is made while the first one waits.
 *
 * The stream is whatever order their bytes were queued in. Each call waits for its own
 * pages only, and each write comes after the return of the call whose bytes it would
 * change.
 *
 * Compile and run, as root:
 *
 *     gcc -Wall -Wextra -O2 FILE.c && ./a.out; echo $?
 *
 * It needs a kernel with veth and netem, and the programs ip(8) and tc(8).
 * It prints what is torn, and exits 1 if something is, 0 if nothing is, and 2 if it
 * could not be run. What it makes is gone when it ends.
 *
 * As a scenario of inflight:
 *
 *     link data delay=20ms
 *     file tmpfs size=16384
 *     expect stock violates stable-on-return
 *     expect detach holds detached
 *     expect patched holds waited
 *
 *     sendfile 0+8192
 *     b: sendfile 8192+8192
 *     b: mmap-write 8192+8192
 *     mmap-write 0+8192
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
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
#define MOST_BYTES 36864	/* that arrive */

static int far, near;	/* the namespaces of the receiver and the sender */
static int sender, receiver;	/* sockets */
static int file;
static unsigned char *mapping;	/* of the file */
static unsigned char received[MOST_BYTES];
static size_t received_bytes;

/* What a sender has sent. */
struct sent_by {
	unsigned char expected[MOST_BYTES];	/* of the stream */
	unsigned char earlier[MOST_BYTES];	/* the same when the call began */
	long offset_of[MOST_BYTES];	/* in the file, of a byte of the stream */
	size_t sent_bytes;
};

static struct sent_by of_a, of_b;
static _Thread_local struct sent_by *own;	/* that of the thread */

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

static struct actor a, b;

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
		size_t room = sizeof(received) - received_bytes;
		ssize_t len = recv(receiver, received + received_bytes, most < room ? most : room, 0);

		if (len <= 0)
			return;
		received_bytes += len;
		most -= len;
	}
}

/* The receiver, which reads whatever arrives at once. */
static void *drain(void *unused)
{
	receive(sizeof(received));
	return unused;
}

/* One way to explain the stream so far: how many bytes of each sender are in it. */
struct split {
	size_t of[2];
};

static struct sent_by *senders[] = { &of_a, &of_b };

/* Whether a byte can be the next one of a sender. */
static int is_next(struct sent_by *whose, size_t at, unsigned char byte)
{
	return at < whose->sent_bytes && (byte == whose->expected[at] || byte == whose->earlier[at]);
}

static void add(struct split *splits, int *count, struct split split, int who)
{
	split.of[who]++;
	for (int i = 0; i < *count; i++) {
		if (memcmp(&splits[i], &split, sizeof(split)) == 0)
			return;
	}
	if (*count == 256) {
		fprintf(stderr, "cannot run: whose bytes these are could be anything\n");
		exit(2);
	}
	splits[(*count)++] = split;
}

/*
 * Whether what has arrived is what was sent. The bytes of the senders may stand between
 * each other in any way, each in its own order: of all ways those are kept that go on.
 */
static int verdict(void)
{
	static struct split splits[256], next[256];
	int count = 1;
	size_t sent_in_all = 0;

	for (size_t at = 0; at < received_bytes; at++) {
		int found = 0;

		for (int i = 0; i < count * 2; i++) {
			struct split split = splits[i / 2];
			int who = i % 2;

			if (is_next(senders[who], split.of[who], received[at]))
				add(next, &found, split, who);
		}
		if (found == 0) {
			printf("byte %zu of the stream is 0x%02x, and was to be\n", at, received[at]);
			for (int who = 0; who < 2; who++) {
				struct sent_by *whose = senders[who];
				size_t done = splits[0].of[who];

				if (done < whose->sent_bytes)
					printf("  offset %ld of the file, sent as 0x%02x\n",
					       whose->offset_of[done], whose->expected[done]);
			}
			return 1;
		}
		memcpy(splits, next, found * sizeof(next[0]));
		count = found;
	}
	for (int who = 0; who < 2; who++)
		sent_in_all += senders[who]->sent_bytes;
	printf("%zu bytes were sent, and %zu have arrived\n", sent_in_all, received_bytes);
	return received_bytes != sent_in_all;
}

/*
 * Two network namespaces, joined by veth: the receiver's and the sender's. They end
 * with the program.
 */
static void make_link(void)
{
	char command[120];

	must(unshare(CLONE_NEWNET), "no network namespace, which takes root");
	far = must(open("/proc/thread-self/ns/net", O_RDONLY), "the receiver's namespace");
	must(unshare(CLONE_NEWNET), "no network namespace, which takes root");
	near = must(open("/proc/thread-self/ns/net", O_RDONLY), "the sender's namespace");
	snprintf(command, sizeof(command),
		 "ip link add near up type veth peer name far netns /proc/%d/fd/%d",
		 getpid(), far);
	run(command);
	run("ip address add 192.0.2.1/24 dev near");
	run("tc qdisc add dev near root netem delay 20ms");

	must(setns(far, CLONE_NEWNET), "setns");
	run("ip address add 192.0.2.2/24 dev far");
	run("ip link set far up");
	run("until ip link show far | grep -q 'state UP'; do sleep 0.01; done");
	must(setns(near, CLONE_NEWNET), "setns");
	run("until ip link show near | grep -q 'state UP'; do sleep 0.01; done");
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
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(2008),
		.sin_addr.s_addr = inet_addr("192.0.2.2"),
	};
	int listener;

	must(setns(far, CLONE_NEWNET), "setns");
	listener = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
	must(bind(listener, (struct sockaddr *)&address, sizeof(address)), "bind");
	must(listen(listener, 1), "listen");
	must(setns(near, CLONE_NEWNET), "setns");

	sender = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
	must(connect(sender, (struct sockaddr *)&address, sizeof(address)), "connect");
	receiver = must(accept(listener, NULL, NULL), "accept");
	close(listener);
}

static void *b_does(void *unused)
{
	own = &of_b;

	/* b: sendfile 8192+8192 */
	after(&a, 1);
	begin(&b);
	entering(8192, 8192);
	sent(8192, sendfile(sender, file, (off_t[]){ 8192 }, 8192));
	end(&b, 2);

	/* b: mmap-write 8192+8192 */
	begin(&b);
	store(mapping, 8192, 8192, 1);
	end(&b, 3);
	return unused;
}

int main(void)
{
	pthread_t b_thread, draining;

	alarm(30);
	make_link();
	make_file();
	connect_ends();
	own = &of_a;
	pthread_create(&b_thread, NULL, b_does, NULL);
	pthread_create(&draining, NULL, drain, NULL);

	/* sendfile 0+8192 */
	begin(&a);
	entering(0, 8192);
	sent(0, sendfile(sender, file, (off_t[]){ 0 }, 8192));
	end(&a, 1);

	/* mmap-write 0+8192 */
	after(&b, 3);
	begin(&a);
	store(mapping, 0, 8192, 2);
	end(&a, 4);

	pthread_join(b_thread, NULL);
	shutdown(sender, SHUT_WR);
	pthread_join(draining, NULL);
	return verdict();
}
