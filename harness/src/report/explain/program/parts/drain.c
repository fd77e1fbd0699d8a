/* The receiver, which reads whatever arrives at once. */
static void *drain(void *unused)
{
	receive(sizeof(received));
	return unused;
}
