/**
 * The one answer that we give to each case of the attack corpus, by the cases' names: the corpus allows several to some,
 * and what we give must not change by accident. `close` is a connection that closes without one.
 */
const NAMES: Readonly<Record<string, string>> = {
  '101': `
    ws-good ws-smuggle-after`,
  '200': `
    abs-form-own anon-no-token anon-xou-auth chunk-ext cl-0-desync clear-site-data colon-port conn-all
    conn-authorization conn-cookie conn-csrf-unsafe conn-dup-lines conn-x-forwarded-for cookie-8k
    cookie-no-space cookie-spaces cookie-tabs cookie-two-lines csrf-logout-get ct-none ct-odd dots-in-name
    double-slash-mid enc-question get-with-chunked-body head-with-body hop-http2-settings hop-proxy-connection
    hop-te hop-trailer hop-upgrade-alone hop-upgrade-h2c id-authorization-basic id-authorization-client
    id-authorization-dup id-authorization-underscore id-oidc-claim-sub id-oidcuclaimusub id-proto-header
    id-remoteduser id-remoteuuser id-te-traceparent id-x-access-token id-x-amzn-oidc-data
    id-x-auth-request-access-token id-x-authenticated-user id-x-forwarded-access-token id-x-forwarded-email
    id-x-forwarded-groups id-x-forwarded-preferred-username id-x-forwarded-user id-x-forwarded-user-b
    id-x-id-token id-x-pomerium-jwt-assertion id-x-remote-user id-x-ssl-client-s-dn id-x-token-subject
    id-x-user id-x-userinfo id-xdforwardedduser id-xff-spoof id-xuforwarded-user id-xuforwardeduuser
    leading-crlf matrix-params override-x-http-method override-x-http-method-override query-dots query-odd
    resp-100-then-200 resp-cache-public resp-conn-keepalive resp-encoding-bomb resp-truncated-chunked
    resp-truncated-cl setcookie-comma-joined setcookie-delete setcookie-lower setcookie-nameless
    setcookie-same setcookie-space target-8k te-tab text-plain-latin1 three-dots triple-slash-host url-in-path`,
  '200,200': `
    pipelined-anon-then-auth pipelined-two`,
  '200,401': `
    pipelined-auth-then-anon`,
  '204': `
    anon-options`,
  '302': `
    resp-location-internal xfh-foreign`,
  '400': `
    anon-escape-01 anon-escape-02 anon-escape-04 anon-escape-05 anon-escape-07 anon-escape-09 anon-escape-11
    anon-escape-12 anon-escape-14 backslash-host callback-array callback-dup-state callback-iss-missing
    callback-iss-wrong callback-no-code callback-no-state chunk-last-bare-cr chunk-size-0x chunk-size-empty
    chunk-size-negative chunk-size-space chunk-trailer-identity cl-comma cl-dup-differ cl-dup-equal cl-empty
    cl-float cl-hex cl-list cl-minus cl-plus cl-space cl-space-before-colon cl-te cl-underscore
    csrf-callback-foreign csrf-login-cross dot-segment-single double-encoded-dots double-slash-evil
    double-slash-front escape-01 escape-02 escape-03 escape-04 escape-05 escape-08 escape-09 escape-10
    escape-12 escape-15 escape-16 escape-17 escape-18 escape-19 escape-21 escape-24 expect-other fragment-anon
    h2-preface header-all-lf header-bare-lf header-ctl-value header-del-value header-empty-name
    header-leading-space header-name-space header-no-colon host-dup host-missing host-nonascii host-userinfo
    line-http-lower line-http09 line-http20 line-no-version line-tab-sep line-trailing-space line-two-spaces
    method-constructor method-get method-track target-bad-pct target-crlf-enc target-ctl target-latin1-pct
    target-lone-pct target-nul-enc target-overlong target-space target-utf8 te-chunked-chunked
    te-chunked-identity te-cl te-cl-order te-http10 te-identity-chunked te-nul te-obs-fold te-quoted
    te-semicolon te-trailing-comma te-xchunked ws-bad-bad-key ws-bad-h2c ws-bad-no-key ws-fake-upgrade-tunnel
    ws-own-endpoint ws-path-abs ws-path-back ws-path-enc ws-path-encback ws-post`,
  '401': `
    anon-healthcheck-ua anon-healthcheck-ua-2 anon-prefix-boundary anon-query-trick-2 anon-suffix cookie-bomb
    cookie-dup cookie-nameless cookie-quoted cookie-upper-name expect-100-no-session id-bearer-no-session
    id-session-header resp-401-keeps-session sid-empty sid-glob sid-json sid-long sid-nul-enc sid-prefix-only
    sid-proto sid-short sid-sql sid-tampered sid-traversal sid-truncated ws-no-session ws-upstream-401`,
  '403': `
    csrf-form csrf-none csrf-origin-null csrf-underscore csrf-wrong-value resp-cors ws-origin-case
    ws-origin-dup ws-origin-empty ws-origin-file ws-origin-http ws-origin-missing ws-origin-null
    ws-origin-port ws-origin-sub ws-origin-suffix ws-origin-two`,
  '404': `
    case-prefix prefix-boundary ws-404`,
  '413': `
    body-limit chunk-ext-20k`,
  '421': `
    abs-form-upstream`,
  '431': `
    headers-17k headers-2500 headers-500 target-20k`,
  '502': `
    resp-bad-cl-te resp-bad-close resp-bad-dup-cl resp-bad-garbage resp-bad-status-999`,
  close: `
    chunk-body-truncated cl-body-truncated connect-authority connect-path`,
}

/** The statuses of the answers to a case, joined by commas, by its name. */
export const attackStatuses: ReadonlyMap<string, string> = new Map(
  Object.entries(NAMES).flatMap(([statuses, names]) =>
    names
      .trim()
      .split(/\s+/)
      .map((name) => [name, statuses] as const),
  ),
)
