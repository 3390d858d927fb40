"""The errors that the fileserver raises on purpose.

FileserverError
 ├── InvalidName            an id, a name or a path breaks the rules
 ├── InvalidRequest         a form, a header or a JSON body cannot be understood
 ├── DigestMismatch         the bytes do not have the digest that was declared for them
 ├── IncompleteBody         the sender stopped early, or its framing is broken
 ├── BodyTimeout            the sender is silent for too long
 ├── RoleMissing            the user may not do that
 ├── InvalidSignature       the link is not one of this server
 ├── LinkExpired            the link was one, until lately
 ├── CrossSite              a page of another site makes a browser write
 ├── Exposed                no credentials are asked for, and another machine asks
 ├── NotFound               nothing is stored there
 ├── Collision              other bytes are stored under the same SHA-1
 ├── Obstructed             something that is no file lies in the file's place
 ├── LimitExceeded          a limit of the settings is exceeded
 ├── InsufficientStorage    the disk is full
 │    └── ReserveReached    the reserve of free space would be used up
 ├── QuotaExceeded          a quota of the settings would be exceeded
 ├── StorageFailed          the disk fails, or no more files can be opened
 ├── NotReady               a durable write is not possible now
 └── SettingsError          the settings do not make sense; raised at start only

Each message is meant for the client: it names the offending part and the setting concerned, and no path of the server.
"""


class FileserverError(Exception):
    """Base of all errors that are answers, not defects."""

    code = "internal"
    title = "The server failed"
    retryable = False
    setting: str | None = None
    """The setting that draws the line, where one does."""


class InvalidName(FileserverError):
    """An id, a name or a path breaks the rules of docs/http-api.md."""

    code = "invalid-name"
    title = "A name is not allowed"


class InvalidRequest(FileserverError):
    """A form, a header or a JSON body cannot be understood."""

    code = "invalid-request"
    title = "The request is malformed"


class DigestMismatch(FileserverError):
    """The bytes do not have the digest that was declared for them."""

    code = "digest-mismatch"
    title = "The content does not match its digest"
    retryable = True


class IncompleteBody(FileserverError):
    """The sender stopped early, or its framing is broken."""

    code = "incomplete-body"
    title = "The body did not arrive whole"
    retryable = True


class BodyTimeout(FileserverError):
    """The sender is silent for too long."""

    code = "body-timeout"
    title = "The body arrives too slowly"
    retryable = True


class RoleMissing(FileserverError):
    """The user has none of the roles that the route needs."""

    code = "role-missing"
    title = "A role is missing"


class InvalidSignature(FileserverError):
    """The link was not signed for this request by one of the server's keys."""

    code = "invalid-signature"
    title = "The link is not valid"


class LinkExpired(FileserverError):
    """The link was signed for this request, but its time is over."""

    code = "link-expired"
    title = "The link has expired"


class CrossSite(FileserverError):
    """A page of another site makes a browser write."""

    code = "cross-site"
    title = "Another site asks"


class Exposed(FileserverError):
    """Another machine asks a server that has no users."""

    code = "exposed"
    title = "Other machines need credentials"


class NotFound(FileserverError):
    """Nothing is stored under the name asked for."""

    code = "not-found"
    title = "Nothing is stored there"


class Collision(FileserverError):
    """Other bytes are stored under the same SHA-1."""

    code = "collision"
    title = "Other content has the same SHA-1"


class Obstructed(FileserverError):
    """Something that is no file lies in the file's place; it did not come through this server."""

    code = "obstructed"
    title = "The place is taken by something else"


class _SettingError(FileserverError):
    """*setting* draws the line."""

    def __init__(self, setting: str, detail: str) -> None:
        super().__init__(f"{setting}: {detail}")
        self.setting = setting


class LimitExceeded(_SettingError):
    """A limit of the settings is exceeded."""

    code = "limit-exceeded"
    title = "A limit is exceeded"


class InsufficientStorage(FileserverError):
    """The disk is full."""

    code = "insufficient-storage"
    title = "There is not enough space"
    retryable = True


class ReserveReached(_SettingError, InsufficientStorage):
    """The reserve of free space that min_free_bytes keeps would be used up."""


class QuotaExceeded(_SettingError):
    """A quota of the settings would be exceeded."""

    code = "quota-exceeded"
    title = "A quota is used up"
    retryable = True


class StorageFailed(FileserverError):
    """The disk fails, or the process cannot open any more files."""

    code = "storage-failed"
    title = "The storage failed"
    retryable = True


class NotReady(FileserverError):
    """A durable write is not possible now."""

    code = "not-ready"
    title = "The server cannot store now"
    retryable = True


class SettingsError(FileserverError):
    """The settings do not make sense. Raised at start, never while serving."""

    code = "settings"
    title = "The settings do not make sense"
