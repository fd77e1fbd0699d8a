/*
 * Not to be flagged: what is written before and after the notification of SEND_ZC.
 *
 * What is written after the notification of io_uring's SEND_ZC never shows, and what is
 * written before may.
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
 *     link ack delay=20ms
 *     file tmpfs size=8192
 *     reader paused
 *     expect stock holds
 *     expect patched holds
 *
 *     uring-send-zerocopy 0+8192
 *     mmap-write 4096+4096
 *     await-completions
 *     mmap-write 0+4096
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILE_BYTES 8192
#define MOST_BYTES 20480	/* that arrive */

static int far, near;	/* the namespaces of the receiver and the sender */
static int sender, receiver;	/* sockets */
static int file;
static unsigned char *mapping;	/* of the file */
static unsigned char expected[MOST_BYTES];	/* of the stream */
static unsigned char earlier[MOST_BYTES];	/* the same when the call began */
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
 * A call is to be made. Others write while it runs, so what the file has now may arrive
 * as well as what it has when the call returns.
 */
static void entering(long offset, long len)
{
	must(pread(file, earlier + sent_bytes, len, offset), "pread");
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

/*
 * What is sent by reference: until the kernel says that it is done with it, the file may
 * change, and what it had when the call began may arrive, or what it has by then.
 */
struct loan {
	unsigned char *bytes;	/* that are to arrive */
	long offset, len;
	int told, settled;
};

struct loans {
	struct loan of[64];
	size_t made, told;
};

static struct loans by_ring;

static void lend(struct loans *loans, long offset, ssize_t len)
{
	struct loan *loan = &loans->of[loans->made];

	sent(offset, len);
	if (len <= 0)
		return;
	loan->bytes = expected + sent_bytes - len;
	loan->offset = offset;
	loan->len = len;
	loans->made++;
}

/* What the file has now is the last that may arrive. */
static void settle(struct loan *loan)
{
	if (loan->settled++ == 0)
		must(pread(file, loan->bytes, loan->len, loan->offset), "pread");
}

/* The kernel says that it is done with what a call has sent. */
static void completed(struct loans *loans, size_t call)
{
	loans->of[call % 64].told++;
	loans->told++;
	settle(&loans->of[call % 64]);
}

/* Whether that was not said once of each call. */
static int wrong_completions(struct loans *loans)
{
	int wrong = 0;

	for (size_t call = 0; call < 64; call++) {
		int told = loans->of[call].told;

		if (told == (call < loans->made))
			continue;
		printf("completion %zu was told %d times, and %zu calls have sent by reference\n",
		       call, told, loans->made);
		wrong = 1;
	}
	return wrong;
}

/* io_uring without a library. */
static int ring;
static struct io_uring_params at;	/* where the ring has what */
static char *queues;
static struct io_uring_sqe *requests;

static unsigned int *word(unsigned int offset)
{
	return (unsigned int *)(queues + offset);
}

static void open_ring(void)
{
	size_t len;

	at.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
	ring = must(syscall(SYS_io_uring_setup, 8, &at), "io_uring");
	len = at.sq_off.array + at.sq_entries * sizeof(unsigned int);
	queues = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	len = at.sq_entries * sizeof(struct io_uring_sqe);
	requests = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	if (queues == MAP_FAILED || requests == MAP_FAILED)
		must(-1, "mmap of the ring");
}

/* Submits so many requests and waits for so many answers. */
static void enter(int requested, int answers)
{
	int flags = IORING_ENTER_GETEVENTS;

	while (syscall(SYS_io_uring_enter, ring, requested, answers, flags, NULL, 0) < 0) {
		if (errno != EINTR)
			must(-1, "io_uring_enter");
	}
}

/* Takes what the ring tells. Whether a send has returned, with that answer. */
static int returned(struct io_uring_cqe *answer)
{
	struct io_uring_cqe *answers = (void *)(queues + at.cq_off.cqes);
	unsigned int *head = word(at.cq_off.head), end;
	int found = 0;

	end = __atomic_load_n(word(at.cq_off.tail), __ATOMIC_ACQUIRE);
	for (; *head != end; __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE)) {
		struct io_uring_cqe *next = &answers[*head & *word(at.cq_off.ring_mask)];

		if (next->flags & IORING_CQE_F_NOTIF) {
			completed(&by_ring, next->user_data);
		} else {
			*answer = *next;
			found = 1;
		}
	}
	return found;
}

/* IORING_OP_SEND_ZC. */
static void send_by_ring(long offset, size_t len)
{
	unsigned int *tail = word(at.sq_off.tail);
	unsigned int slot = *tail & *word(at.sq_off.ring_mask);
	struct io_uring_cqe answer;

	requests[slot] = (struct io_uring_sqe){
		.opcode = IORING_OP_SEND_ZC,
		.fd = sender,
		.addr = (unsigned long)(mapping + offset),
		.len = len,
		.user_data = by_ring.made,
	};
	word(at.sq_off.array)[slot] = slot;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	enter(1, 1);
	while (!returned(&answer))
		enter(0, 1);
	if (answer.res < 0) {
		errno = -answer.res;
		answer.res = -1;
	}
	if (!(answer.flags & IORING_CQE_F_MORE)) {
		sent(offset, answer.res);
		return;
	}
	lend(&by_ring, offset, answer.res);
	/* What has sent nothing is told done with as well. */
	by_ring.made += answer.res <= 0;
}

/* Waits until the ring has told all, for 5 s at most. */
static void await_ring(void)
{
	struct io_uring_cqe none;

	for (int ms = 0; ms < 5000 && by_ring.told < by_ring.made; ms++) {
		enter(0, 0);
		returned(&none);
		usleep(1000);
	}
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

/* Whether a byte of the stream is none of those that were sent. */
static int is_torn(size_t at)
{
	return received[at] != expected[at] && received[at] != earlier[at];
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
	run("tc qdisc add dev near root netem delay 20ms");

	must(setns(far, CLONE_NEWNET), "setns");
	run("ip address add 192.0.2.2/24 dev far");
	run("ip link set far up");
	run("tc qdisc add dev far root netem delay 20ms");
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

int main(void)
{
	alarm(46);
	make_link();
	make_file();
	connect_ends();

	/* uring-send-zerocopy 0+8192 */
	open_ring();
	entering(0, 8192);
	send_by_ring(0, 8192);

	/* mmap-write 4096+4096 */
	store(mapping, 4096, 4096, 1);

	/* await-completions */
	await_ring();

	/* mmap-write 0+4096 */
	store(mapping, 0, 4096, 2);

	shutdown(sender, SHUT_WR);
	receive(sizeof(received));
	await_ring();
	return verdict() || wrong_completions(&by_ring);
}
