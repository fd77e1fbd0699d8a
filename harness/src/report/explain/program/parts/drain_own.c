/* The receiver of a connection, which reads whatever arrives at once. */
static void *drain(void *connection)
{
	own = connection;
	receive(sizeof(received));
	return connection;
}
