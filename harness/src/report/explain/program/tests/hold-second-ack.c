/*
 * Not to be flagged: the page is rewritten while the second acknowledgement is held.
 *
 * The first packet that the receiver sends passes, the next ones wait at the end of the
 * link. The data is read as it arrives, for which there is time, so that a stock kernel
 * shows the old bytes: only the sender's retransmit queue still refers to the page. A
 * patched kernel waits for the acknowledgement, that is, for the release; detach copies
 * what is in that queue.
 *
 * Compile and run, as root:
 *
 *     gcc -Wall -Wextra -O2 FILE.c && ./a.out; echo $?
 *
 * It needs a kernel with veth and netem and sch_plug, and the programs ip(8) and tc(8).
 * It prints what is torn, and exits 1 if something is, 0 if nothing is, and 2 if it
 * could not be run. What it makes is gone when it ends.
 *
 * As a scenario of inflight:
 *
 *     socket tcp4 nodelay
 *     file tmpfs size=8192
 *     expect stock holds
 *     expect detach holds detached
 *     expect patched holds waited
 *
 *     hold ack after=1
 *     sendfile 0+4096
 *     sendfile 4096+4096
 *     wait 10ms
 *     mmap-write 0+8192
 *     release ack
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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

#define FILE_BYTES 8192
#define MOST_BYTES 20480	/* that arrive */

static int far, near;	/* the namespaces of the receiver and the sender */
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

/* Who does the steps of the scenario: how many are done, and since when there is another. */
struct actor {
	atomic_int done;
	atomic_long since_us;
};

static struct actor a, the_link;

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

/* The receiver, which reads whatever arrives at once. */
static void *drain(void *unused)
{
	receive(sizeof(received));
	return unused;
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

	must(setns(far, CLONE_NEWNET), "setns");
	run("ip address add 192.0.2.2/24 dev far");
	run("ip link set far up");
	run("tc qdisc add dev far root handle 1: netem");
	/*
	 * Packets are held here, by slots of netem: so many pass, and then none until the
	 * next slot, which is never. What is due before a slot begins is part of it, so
	 * those that are yet to come are made due 8 s before they come, by a table of
	 * delays that says -4.
	 */
	run("tables=$(mktemp -d) && echo -32768 >$tables/ahead.dist && "
	    "TC_LIB_DIR=$tables tc qdisc add dev far parent 1: handle 2: "
	    "netem delay 1us 2147ms distribution ahead && rm -r $tables");
	run("tc qdisc add dev far parent 2: handle 3: plug limit 100000000");
	run("tc qdisc change dev far parent 2: handle 3: plug release_indefinite");
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
	set(sender, IPPROTO_TCP, TCP_NODELAY, 1);
}

static void *link_does(void *unused)
{
	/* hold ack after=1 */
	must(setns(far, CLONE_NEWNET), "setns");
	run("tc qdisc change dev far parent 1: handle 2: netem delay 1us 2147ms slot 1000000s packets 1");
	must(setns(near, CLONE_NEWNET), "setns");
	end(&the_link, 1);

	/* release ack */
	after(&a, 5);
	must(setns(far, CLONE_NEWNET), "setns");
	run("tc qdisc change dev far parent 1: handle 2: netem slot 0");
	/* That alone starts nothing. */
	run("tc qdisc change dev far parent 2: handle 3: plug release_indefinite");
	must(setns(near, CLONE_NEWNET), "setns");
	end(&the_link, 6);
	return unused;
}

int main(void)
{
	pthread_t link_thread, draining;

	alarm(30);
	make_link();
	make_file();
	connect_ends();
	pthread_create(&link_thread, NULL, link_does, NULL);
	pthread_create(&draining, NULL, drain, NULL);

	/* sendfile 0+4096 */
	after(&the_link, 1);
	begin(&a);
	sent(0, sendfile(sender, file, (off_t[]){ 0 }, 4096));
	end(&a, 2);

	/* sendfile 4096+4096 */
	begin(&a);
	sent(4096, sendfile(sender, file, (off_t[]){ 4096 }, 4096));
	end(&a, 3);

	/* wait 10ms */
	begin(&a);
	usleep(10000);
	end(&a, 4);

	/* mmap-write 0+8192 */
	begin(&a);
	store(mapping, 0, 8192, 1);
	end(&a, 5);

	pthread_join(link_thread, NULL);
	shutdown(sender, SHUT_WR);
	pthread_join(draining, NULL);
	return verdict();
}
