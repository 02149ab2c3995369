"""A bucket through boto3: the client, and its errors in one line each. Imported by whoever has boto3.

Credentials come from boto3's own chain: environment, ~/.aws, container, machine.
"""

from __future__ import annotations

import email.utils
import time

from edgemon.errors import UsageError
from edgemon.typed import Any, NamedTuple

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
# Stores refuse requests that are further off than 15 minutes; from here on a clock is worth a word.
_SKEW_WORTH_SAYING_S = 240.0

# What the same bytes under the same name will meet again, whatever changes around them.
_PERMANENT = frozenset({"EntityTooLarge", "KeyTooLongError", "XMinioInvalidObjectName"})
_OTHER_REGION = frozenset(
    {
        "PermanentRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "301",
        "307",
    }
)
_NO_BUCKET = frozenset({"NoSuchBucket", "404", "NotFound"})
_BUSY = frozenset(
    {"SlowDown", "ServiceUnavailable", "503", "InternalError", "500", "RequestTimeout"}
)


class Place(NamedTuple):
    """Where a bucket is.  region, endpoint: "" leaves it to the environment and to AWS.

    option: how the user sets region and endpoint, with {} for the name: "s3.{}" or "--{}".
    """

    bucket: str
    prefix: str
    region: str
    endpoint: str
    option: str = "s3.{}"

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}" if self.prefix else f"s3://{self.bucket}"

    @property
    def host(self) -> str:
        return self.endpoint or "AWS"


class Trouble(NamedTuple):
    """permanent: trying the same again is pointless.  message: one line for a person."""

    permanent: bool
    message: str


def connect(place: Place) -> Any:
    """A client of that store; nothing is sent yet. Raises UsageError without boto3."""
    try:
        import boto3
        from botocore.config import Config
    except ModuleNotFoundError as error:
        raise UsageError(
            f"S3 needs the Python package {error.name}, which is not installed; install edgemon[s3]"
        ) from None
    # A store of one's own is rarely found under bucket.host.
    style = {"addressing_style": "path"} if place.endpoint else {}
    return boto3.session.Session().client(
        "s3",
        region_name=place.region or (None if not place.endpoint else "us-east-1"),
        endpoint_url=place.endpoint or None,
        config=Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": 2},
            s3=style,
            # Checksums that not every store knows; Content-MD5 is sent instead.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def is_remote(error: Exception) -> bool:
    """Whether it is the store, the network or the disk that failed, and not this program."""
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError) or package in ("boto3", "botocore", "urllib3", "s3transfer")


def code_of(error: Exception) -> str:
    """The store's error code, "" when it was not the store that failed."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def status_of(error: Exception) -> int:
    """The HTTP status of the store's answer, 0 without one."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return 0
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def explain(error: Exception, place: Place, doing: str, now: float | None = None) -> Trouble:
    """What went wrong and what to do.

    doing: what was tried, e.g. "s3:PutObject".  now: seconds since 1970, for the clock's error.
    """
    if code_of(error) or status_of(error):
        return _explain_answer(error, place, doing, time.time() if now is None else now)
    name = type(error).__name__
    text = " ".join(str(error).split())
    if name in ("NoCredentialsError", "PartialCredentialsError"):
        return Trouble(
            False,
            "no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write "
            "~/.aws/credentials",
        )
    if name in ("CredentialRetrievalError", "ProfileNotFound", "TokenRetrievalError"):
        return Trouble(False, f"no credentials for S3: {text}")
    if name == "SSLError":
        return Trouble(
            False,
            f"no TLS with {place.host}: {_cause(error)} (AWS_CA_BUNDLE names the authorities)",
        )
    if name in ("EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError"):
        return Trouble(False, f"{place.host} cannot be reached: {_cause(error)}")
    if name in ("ReadTimeoutError", "ConnectionClosedError", "HTTPClientError", "IncompleteRead"):
        return Trouble(False, f"the connection to {place.host} broke: {_cause(error)}")
    if name in ("ResponseStreamingError", "IncompleteReadError", "ProtocolError"):
        return Trouble(False, f"the connection to {place.host} broke: {_cause(error)}")
    if isinstance(error, OSError):
        file = f"{error.filename}: " if error.filename else ""
        return Trouble(False, f"{file}{error.strerror or error}")
    return Trouble(False, f"{place.url}: {name}: {text}")


def _explain_answer(error: Exception, place: Place, doing: str, now: float) -> Trouble:
    code = code_of(error)
    details: dict[str, Any] = error.response["Error"]  # type: ignore[attr-defined]
    headers = _headers(error)
    region = str(details.get("Region") or headers.get("x-amz-bucket-region", ""))
    skew = _skew(headers, now)
    bucket = f'bucket "{place.bucket}"'
    if code in ("RequestTimeTooSkewed", "RequestExpired") or (
        status_of(error) == 403 and abs(skew) >= _SKEW_WORTH_SAYING_S
    ):
        return Trouble(False, f"{place.host} refuses the request: {_say_skew(skew)}")
    if code in _NO_BUCKET:
        return Trouble(False, f"there is no {bucket} at {place.host}")
    if code in _OTHER_REGION or (status_of(error) in (301, 400) and region):
        hint = f'in region {region}: set {place.option.format("region")} to "{region}"'
        elsewhere = "in another region or at another endpoint"
        return Trouble(False, f"{bucket} is {hint if region else elsewhere}")
    if code == "InvalidAccessKeyId":
        key = details.get("AWSAccessKeyId", "")
        return Trouble(
            False, f"{place.host} does not know the access key{' ' + key if key else ''}"
        )
    if code == "SignatureDoesNotMatch":
        return Trouble(
            False,
            f"{place.host} refuses the signature: the secret key does not fit the access key",
        )
    if code in ("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "ExpiredTokenException"):
        return Trouble(False, f"{place.host} refuses the session token: it has expired or is wrong")
    if code in ("AccessDenied", "AllAccessDisabled", "403", "Forbidden", "AccountProblem"):
        return Trouble(False, f"{place.host} denies {doing} on {place.url} (access denied)")
    if code in _BUSY:
        return Trouble(False, f"{place.host} is busy: {code}")
    message = " ".join(str(details.get("Message", "")).split())
    return Trouble(
        code in _PERMANENT, f"{place.host} refuses {doing} on {place.url}: {code} {message}".strip()
    )


def _headers(error: Exception) -> dict[str, str]:
    metadata = error.response.get("ResponseMetadata", {})  # type: ignore[attr-defined]
    return {
        str(name).lower(): str(value) for name, value in metadata.get("HTTPHeaders", {}).items()
    }


def _skew(headers: dict[str, str], now: float) -> float:
    """By how many seconds our clock is ahead of the store's; 0 when it does not say its time."""
    try:
        return now - email.utils.parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return 0.0


def _say_skew(skew: float) -> str:
    if abs(skew) < 1:
        return "its clock and ours are too far apart"
    amount = abs(skew)
    for unit, seconds in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if amount >= 2 * seconds:
            shown = f"{amount / seconds:.0f} {unit}"
            break
    else:
        shown = f"{amount:.0f} seconds"
    return f"this clock is {shown} {'ahead of' if skew > 0 else 'behind'} the store's; set it right"


def _cause(error: BaseException) -> str:
    """The innermost reason that the system gave, without Python's wrapping."""
    seen: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in seen:
        seen.append(at)
        kwargs = getattr(at, "kwargs", {})
        inner = getattr(at, "reason", None) or (kwargs.get("error") if kwargs else None)
        at = inner if isinstance(inner, BaseException) else at.__cause__ or at.__context__
    for one in reversed(seen):
        if isinstance(one, OSError) and one.strerror:
            reason = getattr(one, "verify_message", "") or one.strerror
            return str(reason)
    return " ".join(str(seen[0]).split())
