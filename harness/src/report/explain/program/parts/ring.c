/* io_uring without a library. */
static {{OWN}}int ring;
static {{OWN}}struct io_uring_params at;	/* where the ring has what */
static {{OWN}}char *queues;
static {{OWN}}struct io_uring_sqe *requests;

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
